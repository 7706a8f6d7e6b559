"""How figures look: colours that the colour-blind tell apart, and files that are the same on every day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

INK, SOFT = "#1d2433", "#6b7484"
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

# The agents of this repository in Okabe and Ito's colours, which no other agent's coming or going moves.
KNOWN: dict[str, Style] = {
    "adversarial": ("#994F88", "P"),
    "model_based": ("#000000", "*"),
    "model_based-all": ("#777777", "*"),
    "posterior": ("#0072B2", "o"),
    "ppo": ("#D55E00", "s"),
    "ppo-all": ("#8C2D04", "s"),
    "ppo-lora": ("#FDAE6B", "s"),
    "q_learning": ("#009E73", "^"),
    "reference": ("#CC79A7", "D"),
    "reinforce": ("#E69F00", "v"),
    "reinforce-all": ("#B38600", "v"),
    "reinforce-tokens": ("#7A5195", "X"),
    "sb3_ppo": ("#56B4E9", "P"),
}
# Tol's muted colours, for all others.
COLOURS = ("#332288", "#882255", "#117733", "#999933", "#AA4499", "#44AA99", "#661100")
FREE = tuple((colour, shape) for shape in SHAPES for colour in COLOURS)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A colour and a shape for each agent.

    Those of known agents are theirs; others take one by a hash of the name, and the next free one where
    another drawn with them has it, as long as there are any.
    """
    dealt: dict[str, Style] = {}
    for name in sorted(set(names)):
        if name in KNOWN:
            dealt[name] = KNOWN[name]
            continue
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(FREE)
        turned = FREE[first:] + FREE[:first]
        taken = set(dealt.values())
        dealt[name] = next((style for style in turned if style not in taken), turned[0])
    return dealt
