"""Performance profiles: how large a share of an agent's runs scores at least so much.

Agarwal et al. 2021 (arXiv 2108.13264), section 4.2: the run-score distribution, with environments weighted
alike. A curve that lies above another everywhere belongs to the agent that is better at every level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.entry import Entry
from klrl_envs.results.look import INK, SOFT, Style
from leaderboard.aggregate import Aggregate, aggregate
from leaderboard.pairwise import scores_of
from leaderboard.shares import mean_share_interval

LEAST, MOST, POINTS = -0.25, 1.05, 521
"""The scores that are drawn."""
ACROSS = 3
"""Panels side by side."""
FAINT = "#c3c9d3"


@dataclass(frozen=True)
class Profiled:
    """What profiles are drawn of.

    Attributes:
        entries: of the group's environments alone.
        aggregate: of the group, whose ranked agents have a profile each.
        group: what it is called.
    """

    entries: list[Entry]
    aggregate: Aggregate
    group: str


def profiled(entries: Sequence[Entry], aggregated: Aggregate) -> Profiled:
    """The exact environments, where more agents have all of these than have all; otherwise all."""
    exact = aggregate(entries, tag="exact")
    fewer = len(exact.ranked) > len(aggregated.ranked)
    chosen, group = (exact, "exact environments") if fewer else (aggregated, "environments")
    return Profiled([each for each in entries if each.env_id in chosen.environments], chosen, group)


def profile(scores: Sequence[Sequence[float]], thresholds: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The share of runs with a score of at least each threshold, and its pointwise 95 % band.

    Args:
        scores: for each environment those of its seeds.
        thresholds: float[T].

    Returns:
        float64[T] and float64[T, 2], lower and upper; see ``mean_share_interval``.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    shares = np.stack([(np.asarray(seeds)[:, None] >= levels).mean(axis=0) for seeds in scores], axis=-1)
    return shares.mean(axis=-1), mean_share_interval(shares, [len(seeds) for seeds in scores])


def draw_profiles(figure: Any, shown: Profiled, style: Mapping[str, Style]) -> None:
    """A panel for each ranked agent, the best first: its profile with its band, and the others' in grey."""
    rows = shown.aggregate.ranked
    across = min(len(rows), ACROSS)
    grid = figure.subplots(-(-len(rows) // across), across, sharex=True, sharey=True, squeeze=False)
    levels = np.linspace(LEAST, MOST, POINTS)
    profiles: dict[str, tuple[FloatArray, FloatArray]] = {}
    for row in rows:
        scores = [scores_of(entry) for entry in shown.entries if entry.agent.name == row.agent]
        profiles[row.agent] = profile([each for each in scores if each], levels)
    for axes, row in zip(grid.flat, rows):
        for share, _ in profiles.values():
            axes.plot(levels, share, color=FAINT, linewidth=1.2, zorder=1)
        share, band = profiles[row.agent]
        colour, _ = style[row.agent]
        axes.fill_between(levels, *band.T, color=colour, alpha=0.18, linewidth=0, zorder=2)
        axes.plot(levels, share, color=colour, linewidth=2.2, zorder=3)
        axes.axvline(0, color=SOFT, linewidth=0.8, zorder=0)
        axes.axvline(1, color=SOFT, linewidth=0.8, linestyle=":", zorder=0)
        axes.set_title(f"{row.agent}: {row.score:.3f}", loc="left", fontsize=10, color=INK)
        axes.set_xlim(LEAST, MOST)
        axes.set_ylim(-0.03, 1.03)
    for axes in grid.flat[len(rows) :]:
        axes.set_visible(False)
    figure.supxlabel("score: 0 the reference, 1 the optimum", fontsize=10, color=INK)
    figure.supylabel("share of runs with at least this score", fontsize=10, color=INK)
