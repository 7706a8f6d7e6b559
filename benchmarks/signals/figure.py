"""The figure of the signals: what each loss scores where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.signals.page import SHORT, TITLES, Found, tenfold, verdict
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK

HUES = ("#009E73", "#117733", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#999999", "#444444")
COLOURS = dict(zip(SHORT.values(), HUES, strict=True))
LOWEST, HIGHEST = -2.0, 1.4  # bars are cut here, and say so
RING: dict[str, Any] = {
    "marker": "o", "linestyle": "none", "markersize": 6, "markerfacecolor": "white", "color": INK,
}  # fmt: skip
SAME = 0.01
"""Of the score: no ring where the other unit has so nearly the same."""


def draw(found: Sequence[Found], out: Path) -> None:
    """Scores as bars, TRL's rows and the formulas side by side, numbered as in the table."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    numbered = list(enumerate(found, 1))
    verdicts = {verdict(numbers["report"]) for _, numbers in found}
    told = [one for one in COLOURS if one in verdicts]
    panels = [[one for one in numbered if one[1][0].kind == kind] for kind in TITLES]
    with drawing(out / "signals", (15, 1.9 + 0.27 * max(map(len, panels))), dpi=130) as figure:
        for axis, title, panel in zip(figure.subplots(1, 2), TITLES.values(), panels, strict=True):
            draw_bars(axis, title, panel)
        figure.suptitle(
            "Where the losses of today's trainers end: exact, scored against the exact optimum",
            x=0.01, ha="left", fontsize=13, color=INK,
        )  # fmt: skip
        figure.legend(
            [*[Patch(color=COLOURS[one]) for one in told], Line2D([], [], **RING)],
            [*told, "in tenfold units, where it is another"],
            loc="outside lower left", ncols=7, frameon=False, fontsize=9,
        )  # fmt: skip


def draw_bars(axes: Any, title: str, panel: Sequence[tuple[int, Found]]) -> None:
    """The scores, best on top; of equal ones the first in the table."""
    ordered = sorted(panel, key=lambda one: (round(one[1][1]["report"]["end"]["score"], 6), -one[0]))
    for height, (_, (_, numbers)) in enumerate(ordered):
        score = numbers["report"]["end"]["score"]
        shown = min(max(score, LOWEST), HIGHEST)
        axes.barh(height, shown, 0.62, color=COLOURS[verdict(numbers["report"])], linewidth=0)
        other, beside = tenfold(numbers["report"]), max(shown, 0)
        if other is not None and abs(other - score) > SAME:
            axes.plot(other, height, **RING)
            beside = max(beside, other + 0.1)
        axes.text(
            beside + 0.03, height, f"{score:.3f}" + (" (cut)" if score < LOWEST else ""),
            va="center", fontsize=8, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(
        range(len(ordered)), [f"{row.label}  ({number})" for number, (row, _) in ordered], fontsize=8
    )
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(LOWEST - 0.02, HIGHEST)
    axes.set_xlabel("score: 0 pi0, 1 the optimum")
    axes.set_title(title, loc="left", fontsize=10, color=INK)
