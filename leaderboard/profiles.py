"""Performance profiles: how large a share of an agent's runs scores at least so much.

Agarwal et al. 2021 (arXiv 2108.13264), section 4.2: the run-score distribution, with environments weighted
alike. A curve that lies above another everywhere belongs to the agent that is better at every level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.entry import Entry
from leaderboard.aggregate import Aggregate, scores_of
from leaderboard.look import INK, SOFT, Style
from leaderboard.statistics import share_interval

LEAST, MOST, POINTS = -0.25, 1.05, 521
"""The scores that are drawn."""


def profile(scores: Sequence[Sequence[float]], thresholds: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The share of runs with a score of at least each threshold, and its pointwise 95 % band.

    The band combines Wilson's interval of each environment's share in quadrature, each side for itself, as
    ``mean_of_independent`` does: a percentile bootstrap has no width where all seeds of an environment fall
    on one side, which few seeds do nearly everywhere. Where a share is near 0 or 1 it is wide.

    Args:
        scores: for each environment those of its seeds.
        thresholds: float[T].

    Returns:
        float64[T] and float64[T, 2], lower and upper.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    shares, distances = [], []
    for seeds in scores:
        count = (np.asarray(seeds)[:, None] >= levels).sum(axis=0)
        shares.append(count / len(seeds))
        distances.append(share_interval(count, len(seeds)) - shares[-1][:, None])
    share = np.mean(shares, axis=0)
    below, above = np.moveaxis(np.linalg.norm(distances, axis=0) / len(scores), -1, 0)
    return share, np.stack([share - below, share + above], axis=-1)


def draw_profiles(
    axes: Any, entries: Sequence[Entry], aggregate: Aggregate, style: Mapping[str, Style]
) -> None:
    """The profiles of the agents that have every environment, the best first in the legend.

    Bounds are thin and have no band.
    """
    levels = np.linspace(LEAST, MOST, POINTS)
    for row in aggregate.having(complete=True):
        scores = [scores_of(entry) for entry in entries if entry.agent.name == row.agent]
        share, band = profile([each for each in scores if each], levels)
        colour, shape = style[row.agent]
        bound = row.kind == "bound"
        axes.plot(
            levels, share, "--" if bound else "-", color=colour, linewidth=1.2 if bound else 2.0,
            marker=shape, markersize=6, markeredgecolor="white", markevery=(levels.size // 10, levels.size // 6),
            label=f"{row.agent} ({row.score:.3f})",
        )  # fmt: skip
        if not bound:
            axes.fill_between(levels, *band.T, color=colour, alpha=0.13, linewidth=0)
    axes.set_xlim(LEAST, MOST)
    axes.set_ylim(-0.02, 1.02)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.axvline(1, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlabel("score: 0 the reference, 1 the optimum")
    axes.set_ylabel("share of runs with at least this score")
    axes.legend(
        title="mean over environments", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0),
        labelcolor=INK, alignment="left",
    )  # fmt: skip
