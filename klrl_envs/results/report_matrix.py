"""The report's figure of many agents: a line for each, a column for each capability."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill
from typing import Any

from klrl_envs.results.capabilities import CAPABILITIES
from klrl_envs.results.capability import Finding, Findings, by_rank
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT

SHADES = "Blues"  # light for 0, dark for 1: told apart by lightness alone
DARK = 0.6  # numbers from here on are written in white


def draw_matrix(findings: Findings, folder: Path) -> None:
    """`report.png` and `report.svg`: the numbers as shades, the agents in the order of ``by_rank``."""
    names = by_rank(findings)
    with drawing(folder / "report", (11.5, 1.9 + 0.33 * len(names))) as figure:
        axes = figure.subplots()
        numbers = [[shade_of(each) for each in findings[name]] for name in names]
        axes.imshow(numbers, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
        for row, name in enumerate(names):
            for column, finding in enumerate(findings[name]):
                write_number(axes, row, column, finding)
        axes.set_xticks(range(len(CAPABILITIES)), [fill(each.title, 12) for each in CAPABILITIES])
        axes.set_yticks(range(len(names)), names)
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", labelsize=9, labelcolor=INK)
        axes.tick_params(length=0)
        axes.set_xticks([column - 0.5 for column in range(1, len(CAPABILITIES))], minor=True)
        axes.set_yticks([row - 0.5 for row in range(1, len(names))], minor=True)
        axes.tick_params(which="minor", length=0)
        axes.grid(which="minor", color="white", linewidth=2)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.suptitle(
            "What the agents can do, one property at a time", x=0.01, ha="left", fontsize=13, color=INK,
            fontweight="bold",
        )  # fmt: skip
        figure.supxlabel(
            "from 0 to 1, which is what the optimum does; in brackets: over a part of the sweep; "
            "–: not known; agents with most numbers first, then by their means",
            fontsize=9, color=SOFT,
        )  # fmt: skip


def shade_of(finding: Finding) -> float:
    """A cell's number; NaN, which has no shade, where it is not known."""
    return math.nan if finding.number is None else finding.number


def write_number(axes: Any, row: int, column: int, finding: Finding) -> None:
    """A cell's number in words."""
    number = finding.number
    text = "–" if number is None else f"{number:.2f}"
    if number is not None and finding.missing:
        text = f"({text})"
    colour = SOFT if number is None else "white" if number >= DARK else INK
    axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
