"""The figure of the pitfalls: where each ends in the plane of KL and reward, and what it scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.fixed_points import best_of, of_law, tilt
from benchmarks.studies.mistakes import MOST_TEXTS, ONE_PRICE, Mistake, task_and_optimum
from leaderboard.look import INK, LOOK, METADATA, SOFT

GOOD, BAD = "#009E73", "#D55E00"
LOWEST, HIGHEST = -1.0, 1.35  # bars are cut here, and say so
FARTHEST = 3.2  # times the optimum's KL: what lies beyond stands at the edge


def draw(rows: Sequence[Mistake], out: Path) -> None:
    """The figure: where each ends in the plane of KL and reward, and what it scores."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(rows, key=lambda row: row.score)
    with mpl.rc_context(LOOK):
        figure, (plane, bars) = pyplot.subplots(
            1, 2, figsize=(12.5, 5.2), width_ratios=(1.15, 1), layout="constrained"
        )
        numbers = {row.name: len(ordered) - place for place, row in enumerate(ordered)}
        draw_ends(plane, rows, numbers)
        draw_bars(bars, ordered, numbers)
        figure.suptitle(
            "What well-known mistakes cost: exact fixed points, scored against the exact optimum",
            x=0.01, ha="left", fontsize=13, color=INK,
        )  # fmt: skip
        figure.savefig(out / "pitfalls.svg", metadata=METADATA)
        figure.savefig(out / "pitfalls.png", dpi=150, metadata={"Software": None})
        pyplot.close(figure)


def draw_ends(axes: Any, rows: Sequence[Mistake], numbers: dict[str, int]) -> None:
    """The reward-KL plane of the task without prompts: frontier, best-of-n, and where each row ends."""
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = task_and_optimum(ONE_PRICE)
    assert best.policy is not None
    law = terminal_law(best.policy.problem)
    points = [
        of_law(law, tilt(law, np.full(1, coefficient)), task.kl_coef)
        for coefficient in np.geomspace(task.kl_coef / 100, task.kl_coef * 50, 300)
    ]
    axes.plot([p.kl for p in points], [p.expected_reward for p in points], color=INK, linewidth=1.8)
    curve = [of_law(law, best_of(law, 2**power), task.kl_coef) for power in range(MOST_TEXTS + 1)]
    axes.plot(
        [p.kl for p in curve], [p.expected_reward for p in curve], "--", color=SOFT, linewidth=1.2, marker="."
    )  # fmt: skip
    right, top = FARTHEST * best.kl, 1.06 * float(law.rewards.max())
    tangent = np.array([0.0, right])
    axes.plot(tangent, best.value + task.kl_coef * tangent, ":", color=SOFT, linewidth=1.1)
    shown = [(row, row.point) for row in rows if row.env_id == ONE_PRICE and row.point is not None]
    for place, (row, point) in enumerate(sorted(shown, key=lambda pair: pair[1].kl)):
        colour = GOOD if row.score > 1 - 1e-9 else BAD
        beyond = point.kl > right
        at = (min(point.kl, right), point.expected_reward)
        axes.plot(*at, ">" if beyond else "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)
        label = f"{numbers[row.name]}: {point.kl:.0f} nats" if beyond else str(numbers[row.name])
        # alternately above to the left and below to the right, as the frontier rises between
        left = place % 2 == 0 or beyond
        axes.annotate(
            label, at, (-11, 9) if left else (11, -15), textcoords="offset points", color=colour,
            ha="right" if left else "left", weight="bold",
            arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.6},
        )  # fmt: skip
    axes.plot(0, best.reference_value, "D", color=INK, markersize=7, clip_on=False)
    axes.annotate("reference", (0, best.reference_value), (9, -4), textcoords="offset points", color=INK)
    axes.set_xlim(-0.02 * right, 1.01 * right)
    axes.set_ylim(0, top)
    axes.set_xlabel("KL from the reference (nats)")
    axes.set_ylabel("expected reward")
    axes.text(
        0.985, 0.03,
        "line: optimal frontier; dashed: best of 1, 2, 4, ...\n"
        f"dotted: objective J* at kl_coef {task.kl_coef:g}\n{ONE_PRICE}",
        transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip


def draw_bars(axes: Any, ordered: Sequence[Mistake], numbers: dict[str, int]) -> None:
    """The scores, best on top."""
    for place, row in enumerate(ordered):
        shown = min(max(row.score, LOWEST), HIGHEST)
        impossible = row.score > 1 + 1e-9
        colour = GOOD if abs(row.score - 1) < 1e-9 else BAD
        axes.barh(place, shown, 0.62, color=colour, alpha=0.35 if impossible else 0.9, linewidth=0)
        note = " (cut)" if row.score < LOWEST else ": no policy has it" if impossible else ""
        axes.text(
            max(shown, 0) + 0.03, place, f"{row.score:.2f}{note}", va="center", fontsize=9, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(ordered)), [f"{row.name}  ({numbers[row.name]})" for row in ordered])
    axes.tick_params(axis="y", length=0)
    low = max(min(0.0, ordered[0].score), LOWEST)
    axes.set_xlim(low - 0.02, HIGHEST + 0.75)
    axes.set_xlabel("score: 0 the reference, 1 the optimum")
