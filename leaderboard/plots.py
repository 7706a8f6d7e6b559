"""Draw the leaderboard's figures, and the agents' scores over all environments, from the entries alone.

    python -m leaderboard.plots

One figure an environment, in `leaderboard/figures/`: the reward-KL plane with the optimal frontier (on
which no policy can improve; Ziegler et al. 2019, arXiv 1909.08593, figure 3, draw a sampled one), the
reference, the optimum and every seed of every agent, and beside it the scores, which are the legend too.
One figure of all, `profiles.svg`: the performance profiles of the agents that rank. Each carries the digest
of its entries; one whose entries are the same is left as it is (`--all` draws it, too).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klrl_envs.results.drawing import drawing
from klrl_envs.results.entry import Entry, digest_of_entries, load_entries
from klrl_envs.results.look import INK, Style, styles
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib
from leaderboard.aggregate import Aggregate, aggregate
from leaderboard.folder import ENTRIES, FOLDER, environments_of, figure_path, is_drawn, profiles_path
from leaderboard.plane import draw_plane
from leaderboard.profiles import ACROSS, draw_profiles, profiled

if TYPE_CHECKING:
    from klrl_envs.optima.result import Optimum

LOWEST_SCORE = -0.5  # bars are cut here, and say so


def draw_scores(axes: Any, entries: Sequence[Entry], style: Mapping[str, Style]) -> None:
    """The scores as bars with their intervals, best on top; names, marks and places: the plane's legend."""
    ordered = list(reversed(entries))
    names = [f"{entry.agent.name}  {rank}" for rank, entry in enumerate(entries, 1)][::-1]
    for place, entry in enumerate(ordered):
        colour, shape = style[entry.agent.name]
        across = axes.get_yaxis_transform()
        axes.plot(-0.03, place, shape, color=colour, markersize=7, transform=across, clip_on=False)
        if entry.score is None or entry.score_interval is None:
            axes.text(0.02, place, f"regret {entry.mean('regret'):.3g}", va="center", fontsize=9, color=INK)
            continue
        lower, upper = (max(bound, LOWEST_SCORE) for bound in entry.score_interval)
        shown = max(entry.score, LOWEST_SCORE)
        axes.barh(place, shown, 0.62, color=colour, alpha=0.85, linewidth=0)
        axes.plot([lower, upper], [place, place], color=INK, linewidth=1.3)
        cut = " (cut)" if entry.score < LOWEST_SCORE else ""
        axes.text(
            max(upper, shown, 0) + 0.03, place, f"{round(entry.score, 2) + 0.0:.2f}{cut}",
            va="center", fontsize=9, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    least = min([0.0, *(entry.score_interval[0] for entry in entries if entry.score_interval)])
    axes.set_xlim(max(least, LOWEST_SCORE) - 0.02, 1.22)
    axes.set_ylim(-0.6, max(len(names), 3) - 0.4)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, pad=16)
    axes.set_xlabel("score: 0 the reference, 1 the optimum")


def draw(entries: Sequence[Entry], optimum: Optimum, style: Mapping[str, Style], folder: Path) -> Path:
    """The figure of one environment; returns its path."""
    env_id = entries[0].env_id

    def panels(figure: Any) -> None:
        plane, scores = figure.subplots(1, 2, width_ratios=(1.5, 1))
        draw_plane(plane, entries, optimum, style)
        draw_scores(scores, entries, style)

    kind = "exact" if optimum.exact else "certified"
    title = f"{env_id}: reward against KL, {kind} optimum"
    # a line of text for every bar, and the plane no flatter than it was
    size = (11, max(4.6, 1.2 + 0.34 * len(entries)))
    return save(figure_path(env_id, folder), title, size, entries, panels)


def draw_all(
    entries: Sequence[Entry], aggregated: Aggregate, style: Mapping[str, Style], folder: Path
) -> Path:
    """The performance profiles; returns the figure's path."""
    shown = profiled(entries, aggregated)
    over = f"{len(shown.aggregate.environments)} {shown.group}"
    title = f"Performance profiles over {over}, with pointwise 95 % bands; means beside names"

    def panels(figure: Any) -> None:
        draw_profiles(figure, shown, style)

    down = -(-len(shown.aggregate.ranked) // ACROSS)
    return save(profiles_path(folder), title, (11, 1.2 + 2.6 * down), shown.entries, panels)


def save(
    path: Path,
    title: str,
    size: tuple[float, float],
    entries: Sequence[Entry],
    fill_in: Callable[[Any], None],
) -> Path:
    """Write a figure as PNG and SVG; returns the SVG's path, which carries the entries' digest."""
    description = f"entries {digest_of_entries(entries)}"
    with drawing(path.with_suffix(""), size, description=description) as figure:
        fill_in(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.plots", description="Draw the leaderboard's figures."
    )
    parser.add_argument("--all", action="store_true", help="those whose entries have not changed, too")
    options = parser.parse_args(arguments)
    import klrl_envs

    if not has_matplotlib():
        parser.error(NO_MATPLOTLIB)
    entries = load_entries(ENTRIES)
    style = styles(entry.agent.name for entry in entries)
    for env_id in environments_of(entries):
        own = [entry for entry in entries if entry.env_id == env_id]
        if is_drawn(figure_path(env_id, FOLDER), own) and not options.all:
            continue
        print(draw(own, klrl_envs.optimum(env_id), style, FOLDER).relative_to(FOLDER.parent))
    aggregated = aggregate(entries)
    aggregated.save(FOLDER / "aggregate.json")
    shown = profiled(entries, aggregated)
    if shown.aggregate.ranked and (options.all or not is_drawn(profiles_path(FOLDER), shown.entries)):
        print(draw_all(entries, aggregated, style, FOLDER).relative_to(FOLDER.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
