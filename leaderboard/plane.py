"""The reward-KL plane of an environment: the optimal frontier, the reference, the optimum and every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from klrl_envs.results.entry import Entry
from klrl_envs.results.look import INK, SOFT, Style
from klrl_envs.results.statistics import t_interval
from leaderboard.close_up import WORTH, close_ups
from leaderboard.extent import Best, Box, edge_of, extent_of

if TYPE_CHECKING:
    from klrl_envs.optima.result import FrontierPoint, Optimum

Place = tuple[float, float, float, float]
"""Left, bottom, width and height, of the axes'."""
INSETS: tuple[Place, ...] = (
    (0.47, 0.16, 0.5, 0.42),
    (0.47, 0.16, 0.5, 0.34),
    (0.3, 0.16, 0.5, 0.34),
    (0.47, 0.16, 0.5, 0.26),
)
"""Where the enlarged part may stand, under the frontier."""
ROOM = 0.03
"""What a mark takes around it, of the axes' width and height."""


def draw_plane(axes: Any, entries: Sequence[Entry], optimum: Optimum, style: Mapping[str, Style]) -> None:
    """The plane: KL in nats to the right, expected reward upwards."""
    curve = frontier(optimum)
    edge, extent = edge_of(optimum), extent_of(optimum, curve, entries)
    axes.set_xlim(*extent[0])
    axes.set_ylim(*extent[1])
    draw_frontier(axes, optimum, curve, extent)
    enlarged = room_for_crowd(axes, entries, optimum, extent)
    crowd = [] if enlarged is None else enlarged[0]
    for rank, entry in enumerate(entries, 1):
        draw_agent(axes, entry, style[entry.agent.name], edge, None if rank - 1 in crowd else rank)
    draw_landmarks(axes, optimum)
    if enlarged is not None:
        _, near, place = enlarged
        inset = axes.inset_axes(place)
        draw_frontier(inset, optimum, curve, extent)
        for one in crowd:
            draw_agent(inset, entries[one], style[entries[one].agent.name], edge, one + 1)
        draw_star(inset, optimum)
        enlarge(axes, inset, near)
    axes.text(
        0.985, 0.03,
        "line: optimal frontier; no policy lies in the grey\n"
        f"dotted: objective J* at kl_coef {optimum.kl_coef:g}",
        transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip
    axes.set_xlabel("KL from the reference (nats)")
    axes.set_ylabel("expected reward")


def draw_frontier(axes: Any, optimum: Optimum, curve: Sequence[FrontierPoint], extent: Box) -> None:
    """The optimal frontier, what lies beyond it in grey, and the line of the optimum's objective."""
    (_, right), (low, high) = extent
    top = high + (high - low)
    kl = [0.0, *(point.kl for point in curve)]
    reward = [optimum.reference_value, *(point.expected_reward for point in curve)]
    # Beyond the last point that is known, its tangent bounds every policy.
    last = curve[-1]
    bound = [*reward, last.value + last.kl_coef * max(right, last.kl)]
    axes.fill_between([*kl, max(right, last.kl)], bound, top, color="#eef1f5", linewidth=0, zorder=0)
    axes.plot(kl, reward, color=INK, linewidth=1.8, zorder=2)
    tangent = np.array([0.0, right])
    axes.plot(tangent, optimum.value + optimum.kl_coef * tangent, ":", color=SOFT, linewidth=1.1, zorder=1)


def room_for_crowd(
    axes: Any, entries: Sequence[Entry], best: Best, extent: Box
) -> tuple[list[int], Box, Place] | None:
    """Who crowds around the optimum, the part of the plane with them, and where it is shown enlarged; None
    where nobody does or there is no room.
    """
    means = [(min(entry.mean("kl"), edge_of(best)), entry.mean("expected_reward")) for entry in entries]
    for crowd, near in close_ups(entries, best, extent):
        place = free_place(axes, means, near)
        if place is not None:
            return crowd, near, place
    return None


def free_place(axes: Any, means: Sequence[tuple[float, float]], near: Box) -> Place | None:
    """The first of the places where what is near becomes larger, and neither it nor any agent is covered."""
    to_share = axes.transData + axes.transAxes.inverted()
    shares = to_share.transform(means)
    (left, low), (right, high) = to_share.transform(list(zip(*near, strict=True)))
    for place in INSETS:
        corner, far = np.array(place[:2]) - ROOM, np.add(place[:2], place[2:]) + ROOM
        covers = ((shares > corner) & (shares < far)).all(axis=1).any()
        covers |= low < far[1] and left < far[0] and right > corner[0]
        if not covers and min(place[2] / (right - left), place[3] / (high - low)) >= WORTH:
            return place
    return None


def enlarge(axes: Any, inset: Any, near: Box) -> None:
    """Let the inset show what is near, and the axes where that is."""
    for reach, limit in zip(near, (inset.set_xlim, inset.set_ylim), strict=True):
        limit(*reach)
    inset.tick_params(labelsize=7, length=2)
    inset.set_zorder(8)
    for side in ("top", "right"):
        inset.spines[side].set_visible(True)
    for spine in inset.spines.values():
        spine.set_color(SOFT)
    axes.indicate_inset_zoom(inset, edgecolor=SOFT, linewidth=0.8)


def draw_agent(axes: Any, entry: Entry, style: Style, edge: float, rank: int | None) -> None:
    """An agent's seeds, small, and their mean with its intervals and its place in the list of scores, if any.

    What lies beyond the edge stands at it.
    """
    from matplotlib.patheffects import withStroke

    colour, shape = style
    at = [min(seed.kl, edge) for seed in entry.seeds]
    values = [seed.expected_reward for seed in entry.seeds]
    axes.plot(at, values, shape, color=colour, markersize=4, alpha=0.45, markeredgewidth=0, zorder=4)
    mean = float(np.mean(at)), float(np.mean(values))
    beyond = entry.mean("kl") > edge
    number = "" if rank is None else str(rank)
    axes.annotate(
        number, mean, (5, 4), textcoords="offset points", fontsize=7, color=colour, zorder=7,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip
    axes.errorbar(
        *mean, xerr=None if beyond else half_width(at), yerr=half_width(values), fmt=shape, color=colour,
        markersize=8, markeredgecolor="white", markeredgewidth=0.8, elinewidth=1.2, capsize=2.5, zorder=5,
    )  # fmt: skip
    if beyond:
        label = f"{entry.agent.name}: {entry.mean('kl'):.0f} nats \u2192"
        axes.annotate(label, mean, (-8, 6), textcoords="offset points", ha="right", fontsize=8, color=colour)


def draw_landmarks(axes: Any, optimum: Optimum) -> None:
    """The reference and the optimum, named."""
    reference, best = (0, optimum.reference_value), (optimum.kl, optimum.expected_reward)
    axes.plot(*reference, "D", color=INK, markersize=7, zorder=6, clip_on=False)
    draw_star(axes, optimum)
    axes.annotate("reference", reference, (9, -13), textcoords="offset points", fontsize=9, color=INK)
    axes.annotate("optimum", best, (-8, 9), textcoords="offset points", ha="right", fontsize=9, color=INK)


def draw_star(axes: Any, optimum: Optimum) -> None:
    """The optimum."""
    axes.plot(
        optimum.kl, optimum.expected_reward, "*",
        color="#F0B400", markeredgecolor=INK, markersize=16, zorder=6,
    )  # fmt: skip


def frontier(optimum: Optimum, points: int = 60) -> list[FrontierPoint]:
    """The optimal frontier around an optimum, as far as it is known, with the optimum itself on it."""
    kl_coefs = np.geomspace(optimum.kl_coef / 10, optimum.kl_coef * 100, points).tolist()
    kl_coefs = sorted({*kl_coefs, optimum.kl_coef}, reverse=True)
    certificate = optimum.certificate
    if certificate is not None:
        kl_coefs = [
            kl_coef for kl_coef in kl_coefs if kl_coef >= optimum.kl_coef or certificate.trusted(kl_coef)
        ]
    return optimum.frontier(kl_coefs)


def half_width(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of the mean; 0 for a single seed, which says nothing of it."""
    if len(values) < 2:
        return 0.0
    lower, upper = t_interval(values)
    return (upper - lower) / 2
