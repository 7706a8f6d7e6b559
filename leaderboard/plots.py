"""Draw the leaderboard's figures, and the agents' scores over all environments, from the entries alone.

    python -m leaderboard.plots

One figure an environment, in `leaderboard/figures/`: the reward-KL plane with the optimal frontier (on
which no policy can improve; Ziegler et al. 2019, arXiv 1909.08593, figure 3, draw a sampled one), the
reference, the optimum and every seed of every agent, and beside it the scores, which are the legend too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from klrl_envs.results.schema import (
    Aggregate,
    AggregateRow,
    Entry,
    digest,
    entry_path,
    load_entries,
    to_json,
    write_atomically,
)
from leaderboard.folder import ENTRIES
from leaderboard.statistics import interquartile_mean, stratified_bootstrap, t_interval

if TYPE_CHECKING:
    from klrl_envs.optima.result import FrontierPoint, Optimum

FOLDER = ENTRIES.parent
# Okabe and Ito's colours, told apart by the colour-blind too; the shapes repeat at another period.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "h")
INK, SOFT = "#1d2433", "#6b7484"
LEAST_EFFECTIVE_SAMPLES = 100  # of the worst prompt: below, a frontier beyond the declared optimum is noise
FARTHEST = 3.0  # times the optimum's KL: agents beyond stand at the edge, with their KL written there
LOWEST_SCORE = -0.5  # bars are cut here, and say so
LOOK: Any = {
    "svg.hashsalt": "klrl",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
}
METADATA = {"Creator": None, "Date": None}


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a shape for each agent, the same in every figure."""
    return dict(zip(sorted(names), zip(cycle(COLOURS), cycle(SHAPES))))


def frontier(optimum: Optimum, points: int = 60) -> list[FrontierPoint]:
    """The optimal frontier around an optimum, as far as it is known, with the optimum itself on it."""
    kl_coefs = np.geomspace(optimum.kl_coef / 10, optimum.kl_coef * 100, points).tolist()
    kl_coefs = sorted({*kl_coefs, optimum.kl_coef}, reverse=True)
    certificate = optimum.certificate
    if certificate is not None:
        kl_coefs = [
            kl_coef
            for kl_coef in kl_coefs
            if kl_coef >= optimum.kl_coef
            or float(certificate.effective_sample_size(kl_coef).min()) >= LEAST_EFFECTIVE_SAMPLES
        ]
    return optimum.frontier(kl_coefs)


def half_widths(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of the mean; 0 for a single seed, which says nothing of it."""
    if len(values) < 2:
        return 0.0
    lower, upper = t_interval(values)
    return (upper - lower) / 2


def draw_plane(
    axes: Any, entries: Sequence[Entry], optimum: Optimum, style: Mapping[str, tuple[str, str]]
) -> None:
    """The reward-KL plane: KL in nats to the right, expected reward upwards."""
    curve = frontier(optimum)
    edge = max([FARTHEST * optimum.kl, 1e-3])
    seen = [min(seed.kl, edge) for entry in entries for seed in entry.seeds]
    right = 1.12 * max([1.4 * optimum.kl, *seen, 1e-3])
    kl, reward = [0.0], [optimum.reference_value]
    kl += [point.kl for point in curve]
    reward += [point.expected_reward for point in curve]
    shown = [value for at, value in zip(kl, reward) if at <= right]
    rewards = [seed.expected_reward for entry in entries for seed in entry.seeds]
    low, high = min([*shown, *rewards]), max([*shown, *rewards, optimum.expected_reward])
    margin = 0.08 * (high - low or 1.0)

    # Beyond the last point that is known, its tangent bounds every policy.
    last = curve[-1]
    bound = [*reward, last.value + last.kl_coef * max(right, last.kl)]
    axes.fill_between(
        [*kl, max(right, last.kl)], bound, high + 10 * margin, color="#eef1f5", linewidth=0, zorder=0
    )
    axes.plot(kl, reward, color=INK, linewidth=1.8, zorder=2)
    tangent = np.array([0.0, right])
    axes.plot(tangent, optimum.value + optimum.kl_coef * tangent, ":", color=SOFT, linewidth=1.1, zorder=1)
    for entry in entries:
        colour, shape = style[entry.agent.name]
        at = [min(seed.kl, edge) for seed in entry.seeds]
        values = [seed.expected_reward for seed in entry.seeds]
        axes.plot(at, values, shape, color=colour, markersize=4, alpha=0.45, markeredgewidth=0, zorder=4)
        mean = float(np.mean(at)), float(np.mean(values))
        beyond = entry.mean("kl") > edge
        axes.errorbar(
            *mean,
            xerr=None if beyond else half_widths(at),
            yerr=half_widths(values),
            fmt=shape,
            color=colour,
            markersize=8,
            markeredgecolor="white",
            markeredgewidth=0.8,
            elinewidth=1.2,
            capsize=2.5,
            zorder=5,
        )
        if beyond:
            label = f"{entry.agent.name}: {entry.mean('kl'):.0f} nats \u2192"
            axes.annotate(
                label, mean, (-8, 6), textcoords="offset points", ha="right", fontsize=8, color=colour
            )
    axes.plot(0, optimum.reference_value, "D", color=INK, markersize=7, zorder=6, clip_on=False)
    axes.plot(
        optimum.kl,
        optimum.expected_reward,
        "*",
        color="#F0B400",
        markeredgecolor=INK,
        markersize=16,
        zorder=6,
    )
    axes.annotate(
        "reference", (0, optimum.reference_value), (9, -13), textcoords="offset points", fontsize=9, color=INK
    )
    axes.annotate(
        "optimum",
        (optimum.kl, optimum.expected_reward),
        (-8, 9),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=INK,
    )
    axes.set_xlim(-0.02 * right, right)
    axes.set_ylim(low - 1.5 * margin, high + 1.5 * margin)
    axes.text(
        0.985,
        0.03,
        "line: optimal frontier; no policy lies in the grey\n"
        f"dotted: objective J* at kl_coef {optimum.kl_coef:g}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=8,
        color=SOFT,
    )
    axes.set_xlabel("KL from the reference (nats)")
    axes.set_ylabel("expected reward")


def draw_scores(axes: Any, entries: Sequence[Entry], style: Mapping[str, tuple[str, str]]) -> None:
    """The scores as bars with their intervals, best on top; their names and marks are the plane's legend."""
    ordered = list(reversed(entries))
    names = [entry.agent.name for entry in ordered]
    for place, entry in enumerate(ordered):
        colour, shape = style[entry.agent.name]
        axes.plot(
            -0.03,
            place,
            shape,
            color=colour,
            markersize=7,
            transform=axes.get_yaxis_transform(),
            clip_on=False,
        )
        if entry.score is None or entry.score_interval is None:
            axes.text(0.02, place, f"regret {entry.mean('regret'):.3g}", va="center", fontsize=9, color=INK)
            continue
        lower, upper = (max(bound, LOWEST_SCORE) for bound in entry.score_interval)
        shown = max(entry.score, LOWEST_SCORE)
        axes.barh(place, shown, 0.62, color=colour, alpha=0.85, linewidth=0)
        axes.plot([lower, upper], [place, place], color=INK, linewidth=1.3)
        cut = " (cut)" if entry.score < LOWEST_SCORE else ""
        axes.text(
            max(upper, shown, 0) + 0.03,
            place,
            f"{round(entry.score, 2) + 0.0:.2f}{cut}",
            va="center",
            fontsize=9,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    least = min([0.0, *(entry.score_interval[0] for entry in entries if entry.score_interval)])
    axes.set_xlim(max(least, LOWEST_SCORE) - 0.02, 1.22)
    axes.set_ylim(-0.6, max(len(names), 3) - 0.4)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, pad=16)
    axes.set_xlabel("score: 0 the reference, 1 the optimum")


def draw(
    entries: Sequence[Entry], optimum: Optimum, style: Mapping[str, tuple[str, str]], folder: Path
) -> Path:
    """The figure of one environment as PNG and SVG; returns the SVG's path, which carries the entries'
    digest.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    env_id = entries[0].env_id
    with mpl.rc_context(LOOK):
        figure, (plane, scores) = pyplot.subplots(
            1, 2, figsize=(11, 4.6), width_ratios=(1.5, 1), layout="constrained"
        )
        draw_plane(plane, entries, optimum, style)
        draw_scores(scores, entries, style)
        kind = "exact" if optimum.exact else "certified"
        figure.suptitle(
            f"{env_id}: reward against KL, {kind} optimum", x=0.01, ha="left", fontsize=12, color=INK
        )
        path = folder / "figures" / f"{entry_path(env_id, '', ENTRIES).stem.removesuffix('--')}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={**METADATA, "Description": f"entries {digest(entries)}"})
        figure.savefig(path.with_suffix(".png"), dpi=150, metadata={"Software": None})
        pyplot.close(figure)
    return path


def aggregate(entries: Sequence[Entry]) -> Aggregate:
    """Every agent's interquartile mean over all its environments and seeds, the widest and then the best
    first.
    """
    rows: list[AggregateRow] = []
    for agent in sorted({entry.agent.name for entry in entries}):
        scores = {
            entry.env_id: [seed.score for seed in entry.seeds if seed.score is not None]
            for entry in entries
            if entry.agent.name == agent and entry.score is not None
        }
        if not scores:
            continue
        several = all(len(values) > 1 for values in scores.values())
        rows.append(
            AggregateRow(
                agent=agent,
                environments=tuple(sorted(scores)),
                score=float(interquartile_mean(np.concatenate(list(scores.values())))),
                score_interval=stratified_bootstrap(scores, np.random.default_rng(0)) if several else None,
            )
        )
    rows.sort(key=lambda row: (-len(row.environments), -row.score, row.agent))
    return Aggregate(entries_digest=digest(entries), rows=tuple(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.plots", description="Draw the leaderboard's figures."
    )
    parser.parse_args(arguments)
    import klrl_envs

    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("leaderboard.plots needs matplotlib: pip install 'klrl-envs[plots]'", file=sys.stderr)
        return 1
    entries = load_entries(ENTRIES)
    style = styles([*{entry.agent.name for entry in entries}])
    for env_id in sorted({entry.env_id for entry in entries}):
        own = [entry for entry in entries if entry.env_id == env_id]
        print(draw(own, klrl_envs.optimum(env_id), style, FOLDER).relative_to(FOLDER.parent))
    write_atomically(FOLDER / "aggregate.json", to_json(aggregate(entries)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
