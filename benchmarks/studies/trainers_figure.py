"""The figure of the trainers: score against tokens, and against seconds of one core."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import COLOURS, INK, KNOWN, SOFT, styles

Line = tuple[str, Sequence[float], Sequence[float], Sequence[float]]
"""Label, tokens [K], seconds [K] and scores [K]."""

TRL_COLOUR = COLOURS[0]
DASHES = ("-", "--", ":")


def looks(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Colour and dashes of each line: agents in their own colours, heads dashed; all of TRL in one colour."""
    found: list[tuple[str, str]] = []
    of_trl = 0
    for label in labels:
        name, _, how = label.partition(", ")
        if name.startswith("TRL"):
            found.append((TRL_COLOUR, DASHES[of_trl % len(DASHES)]))
            of_trl += 1
        else:
            colour = KNOWN[name][0] if name in KNOWN else styles([name])[name][0]
            found.append((colour, "--" if how == "heads" else "-"))
    return found


def draw(lines: Sequence[Line], out: Path) -> None:
    """Write trainers.svg and trainers.png."""
    with drawing(out / "trainers", (11, 4.6)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, column, unit in zip(panels, (1, 2), ("million tokens", "seconds of one core")):
            draw_panel(axes, lines, column, unit)
        panels[0].set_ylabel("score on the training prompts")
        figure.suptitle(
            "Sentiment-v0: 0 is the reference, 1 the optimum", x=0.01, ha="left", fontsize=12, color=INK
        )
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower left", ncols=4, frameon=False, fontsize=9, handlelength=2.6
        )


def draw_panel(axes: Any, lines: Sequence[Line], column: int, unit: str) -> None:
    """Scores against tokens (column 1) or seconds (column 2)."""
    for line, (colour, dashes) in zip(lines, looks([line[0] for line in lines])):
        across = [value / 1e6 for value in line[1]] if column == 1 else list(line[column])
        axes.plot([0, *across], [0, *line[3]], dashes, color=colour, linewidth=1.7, label=line[0])
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.axhline(0.4, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
