"""How figures look: colours that the colour-blind tell apart, and files that are the same on every day."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from klrl_envs.results.report_figure import INK, SOFT

# Okabe and Ito's colours; the shapes repeat at another period.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "h")
LOOK: Any = {
    "svg.hashsalt": "klrl",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
}
METADATA = {"Creator": None, "Date": None}

Style = tuple[str, str]
"""Colour and shape."""


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A colour and a shape for each agent, the same in every figure."""
    return dict(zip(sorted(names), zip(cycle(COLOURS), cycle(SHAPES))))
