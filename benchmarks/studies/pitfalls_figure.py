"""The figure of the pitfalls: where each ends in the plane of KL and reward, and what it scores.

Numbers are those of the table's rows, colours those of the kinds of mistake: no row's colour depends on the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.studies.laws import best_of, of_law, tilt
from benchmarks.studies.mistakes import KINDS, ONE_PRICE, Kind, Mistake, task_and_optimum
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT

COLOURS: dict[Kind, str] = {
    "right": "#009E73",
    "estimator": "#D55E00",
    "data": "#CC79A7",
    "objective": "#0072B2",
    "claim": "#999999",
}
LOWEST, HIGHEST = -1.0, 1.35  # bars are cut here, and say so
FARTHEST = 4.0  # times the optimum's KL: what lies beyond stands at the edge
MOST_TEXTS = 10  # log2 of the largest n of the curve of best-of-n
SAME = 1e-6  # ends that are nearer are drawn as one
ROOM = 24.0  # from a point to its label, in points of the page


def draw(rows: Sequence[Mistake], out: Path) -> None:
    """The figure: where each ends in the plane of KL and reward, and what it scores."""
    from matplotlib.patches import Patch

    with drawing(out / "pitfalls", (13.5, 1.6 + 0.29 * len(rows))) as figure:
        plane, bars = figure.subplots(1, 2, width_ratios=(1.1, 1))
        draw_bars(bars, rows)
        draw_frontier(plane)
        figure.suptitle(
            "What well-known mistakes cost: exact fixed points, scored against the exact optimum",
            x=0.01, ha="left", fontsize=13, color=INK,
        )  # fmt: skip
        figure.legend(
            [Patch(color=COLOURS[kind]) for kind in KINDS], list(KINDS.values()),
            loc="outside lower left", ncols=3, frameon=False, fontsize=9,
        )  # fmt: skip
        figure.draw_without_rendering()  # labels are placed by where things are on the page
        draw_ends(plane, rows)


def draw_frontier(axes: Any) -> None:
    """The reward-KL plane of the task without prompts: frontier, best-of-n, and the reference."""
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
    right, top = FARTHEST * best.kl, 1.1 * float(law.rewards.max())
    tangent = np.array([0.0, right])
    axes.plot(tangent, best.value + task.kl_coef * tangent, ":", color=SOFT, linewidth=1.1)
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


def draw_ends(axes: Any, rows: Sequence[Mistake]) -> None:
    """Where each row ends; those that end alike have one mark, in the colour of the first of them."""
    right = axes.get_xlim()[1] / 1.01
    ends: list[tuple[float, float, list[int]]] = []
    for number, row in enumerate(rows, 1):
        if row.env_id != ONE_PRICE or row.point is None:
            continue
        at = (row.point.kl, row.point.expected_reward)
        same = [end for end in ends if max(abs(end[0] - at[0]), abs(end[1] - at[1])) < SAME]
        if same:
            same[0][2].append(number)
        else:
            ends.append((*at, [number]))
    marks = np.array([(min(kl, right), reward) for kl, reward, _ in ends])
    lines = [line.get_xydata() for line in axes.get_lines()]
    avoided = axes.transData.transform(np.concatenate([marks, *lines]))
    labels = [runs_of(numbers) + (f": {kl:.0f} nats" if kl > right else "") for kl, _, numbers in ends]
    box = axes.transAxes.transform([[0.0, 0.0], [1.0, 1.0]])
    points = 72 / axes.figure.dpi
    offsets = place(axes.transData.transform(marks) * points, avoided * points, box * points, labels)
    for (kl, _, numbers), at, label, offset in zip(ends, marks, labels, offsets, strict=True):
        colour = COLOURS[rows[numbers[0] - 1].signal.kind]
        axes.plot(
            *at, ">" if kl > right else "o", color=colour, markersize=8, markeredgecolor="white", zorder=4
        )
        axes.annotate(
            label, at, offset, textcoords="offset points", color=colour, ha="center", va="center",
            weight="bold", arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.6, "shrinkB": 4},
        )  # fmt: skip


def place(marks: FloatArray, avoided: FloatArray, box: FloatArray, labels: Sequence[str]) -> FloatArray:
    """Offsets [N, 2] of labels from their marks [N, 2], in points of the page: where there is most room.

    Args:
        marks: where the labels belong to.
        avoided: [M, 2], what they should not lie on.
        box: [2, 2], the corners between which they should stay.
        labels: their texts, the longer the wider.
    """
    angles = np.arange(0, 360, 15) * np.pi / 180
    chosen: list[FloatArray] = []
    for mark, label in zip(marks, labels, strict=True):
        half = np.array([3.5 * len(label), 6.0])
        around = mark + (ROOM + half - half.min()) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        # a label is wider than high: across, distances count for less
        apart = (around[:, None] - avoided[None]) * (half[1] / half)
        room = np.hypot(apart[..., 0], apart[..., 1]).min(axis=1)
        inside = ((around - half > box[0]) & (around + half < box[1])).all(axis=1)
        offset = around[np.where(inside, room, -1.0).argmax()] - mark
        chosen.append(offset)
        avoided = np.concatenate([avoided, mark + offset * np.array([[1.0], [0.6]])])
    return np.array(chosen)


def runs_of(numbers: Sequence[int]) -> str:
    """Numbers, ascending, with runs of three and more drawn together: "1-3, 10"."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and pieces[-1][-1] == number - 1:
            pieces[-1].append(number)
        else:
            pieces.append([number])
    return ", ".join(
        f"{piece[0]}-{piece[-1]}" if len(piece) > 2 else ", ".join(map(str, piece)) for piece in pieces
    )


def draw_bars(axes: Any, rows: Sequence[Mistake]) -> None:
    """The scores, best on top; of equal ones the first in the table."""
    numbered = sorted(enumerate(rows, 1), key=lambda pair: (round(pair[1].score, 9), -pair[0]))
    for height, (_, row) in enumerate(numbered):
        shown = min(max(row.score, LOWEST), HIGHEST)
        axes.barh(height, shown, 0.62, color=COLOURS[row.signal.kind], alpha=0.9, linewidth=0)
        note = " (cut)" if row.score < LOWEST else ": no policy has it" if row.point is None else ""
        axes.text(
            max(shown, 0) + 0.03, height, f"{row.score:.2f}{note}", va="center", fontsize=9, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(rows)), [f"{row.label}  ({number})" for number, row in numbered], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(LOWEST - 0.02, HIGHEST + 0.75)
    axes.set_xlabel("score: 0 the reference, 1 the optimum")
