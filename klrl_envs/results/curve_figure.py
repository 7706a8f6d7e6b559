"""The figure of learning curves: the score against tokens, and below it reward, KL and entropy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from klrl_envs.results.curve import Curve, Means, title_of
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT, styles

LOWEST = -0.5
"""A score below is cut off."""


def draw_curves(curves: Sequence[Curve], out: str | Path) -> None:
    """One figure of all curves: a column for each environment, a line for each run, a colour for each agent.

    Bands are one standard error. Reward, KL and entropy have the scales of their environment.

    Args:
        curves: at least one.
        out: the file; its ending says the format, such as `curves.png`.

    Raises:
        ValueError: no curves.
        ImportError: matplotlib is not installed.
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none")
    titles = list(dict.fromkeys(title_of(curve) for curve in curves))
    colours = {name: colour for name, (colour, _) in styles(curve.agent for curve in curves).items()}
    with drawing(Path(out), (1.5 + 5 * len(titles), 9)) as figure:
        grid = figure.subplots(4, len(titles), squeeze=False, sharex="col", height_ratios=(2, 1, 1, 1))
        for column, title in enumerate(titles):
            chosen = [curve for curve in curves if title_of(curve) == title]
            panels(grid[:, column], chosen, colours)
            grid[0, column].set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
        for axes, label in zip(grid[:, 0], ("score", "reward", "KL (nats)", "entropy (nats)")):
            axes.set_ylabel(label, color=INK)


def panels(axes: Any, curves: Sequence[Curve], colours: dict[str, str]) -> None:
    """The curves of one environment: score, reward, KL and entropy from top to bottom."""
    for curve in curves:
        for place, means in zip(axes, (curve.score, curve.reward, curve.kl, curve.entropy)):
            if means is not None:
                line(place, curve, means, colours[curve.agent])
    score = axes[0]
    score.axhline(1, color=SOFT, linewidth=0.8, linestyle=":")
    score.axhline(0, color=SOFT, linewidth=0.8)
    lowest = [np.nanmin(curve.score.mean, initial=0.0) for curve in curves if curve.score is not None]
    score.set_ylim(max(min([*lowest, 0.0]) - 0.05, LOWEST), 1.08)
    if any(curve.approximate for curve in curves):
        note = "training prompts, against J* of the evaluation prompts: approximate"
        score.text(0.99, 0.02, note, transform=score.transAxes, ha="right", fontsize=8, color=SOFT)
    handles = {curve.agent: colours[curve.agent] for curve in curves}
    for agent, colour in sorted(handles.items()):
        score.plot([], [], color=colour, label=agent)
    score.legend(loc="best", frameon=False, fontsize=9, labelcolor=INK)
    axes[-1].set_xlabel("tokens written in training", color=INK)
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    axes[-1].set_xlim(left=0)


def line(axes: Any, curve: Curve, means: Means, colour: str) -> None:
    """One run's means and their standard errors."""
    low, high = means.mean - means.stderr, means.mean + means.stderr
    axes.fill_between(curve.tokens, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(curve.tokens, means.mean, color=colour, linewidth=1.4)
