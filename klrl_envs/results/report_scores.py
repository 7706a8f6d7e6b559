"""The report's scores: every environment that was run as it is registered, or with arguments of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klrl_envs.registry import sweeps
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT, Style, styles
from klrl_envs.results.outcome import Outcome, outcomes_of, shown_score
from klrl_envs.results.record import RunRecord
from klrl_envs.results.report_figure import BAND
from klrl_envs.results.report_page import cell, markdown_row

HEADINGS = (
    "environment",
    "agent",
    "seeds",
    "score [95 %]",
    "expected reward",
    "KL (nats)",
    "regret",
    "tokens",
)
LOWEST = -0.5
"""The left end of the axis: what scores less stands there as an arrow."""


def scores_of(runs: Sequence[RunRecord]) -> list[Outcome]:
    """The outcomes that have a line: all but the changed settings of diagnostics, which sweeps hold."""
    return sorted(
        outcomes_of(run for run in runs if not run.env_kwargs or run.env_id not in sweeps()),
        key=lambda outcome: (outcome.label, outcome.agent),
    )


def scores_part(scores: Sequence[Outcome], *, figure: bool) -> list[str]:
    """The lines of the page."""
    return [
        *(["![Scores with their intervals](scores.png)", ""] if figure else []),
        "0 is the reference, 1 the optimum. Means over the seeds; the interval is 95 %, and a single seed's",
        "says nothing of other seeds.",
        "",
        markdown_row(HEADINGS),
        markdown_row(["---"] * len(HEADINGS)),
        *(markdown_row([cell(text) for text in row(outcome)]) for outcome in scores),
    ]


def row(outcome: Outcome) -> list[str]:
    """The cells under ``HEADINGS``."""
    numbers = (f"{outcome.mean(name):.3g}" for name in ("expected_reward", "kl", "regret"))
    score = shown_score(outcome.score, outcome.interval)
    return [outcome.label, outcome.agent, outcome.seeds, score, *numbers, f"{outcome.mean('tokens'):,.0f}"]


def draw_scores(scores: Sequence[Outcome], folder: Path) -> None:
    """`scores.png` and `scores.svg`: a line for each environment, a mark with its interval for each agent."""
    shown = [outcome for outcome in scores if outcome.score is not None]
    labels = list(dict.fromkeys(outcome.label for outcome in shown))
    agents = sorted({outcome.agent for outcome in shown})
    style = styles(agents)
    with drawing(folder / "scores", (8, 1.3 + 0.45 * len(labels))) as figure:
        axes = figure.subplots()
        for line in range(0, len(labels), 2):
            axes.axhspan(line - 0.5, line + 0.5, color=BAND, linewidth=0, zorder=0)
        for number, agent in enumerate(agents):
            own = [outcome for outcome in shown if outcome.agent == agent]
            place = (number + 0.5) / len(agents) - 0.5
            mark(axes, own, [labels.index(each.label) + 0.7 * place for each in own], style[agent])
        for score in (0, 1):
            axes.axvline(score, color=SOFT, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlabel("score: 0 the reference, 1 the optimum; bars are 95 % intervals", color=SOFT)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        if len(agents) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        figure.suptitle(
            f"Scores of {', '.join(agents)}" if len(agents) < 4 else "Scores",
            x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold",
        )  # fmt: skip


def mark(axes: Any, own: Sequence[Outcome], heights: Sequence[float], style: Style) -> None:
    """The scores of one agent, with their intervals; an arrow at the left end for what lies below it."""
    colour, shape = style
    name: str | None = own[0].agent
    for outcome, height in zip(own, heights):
        score, bounds = outcome.score, outcome.interval
        if score is None or bounds is None:
            continue
        low = score < LOWEST
        at = max(score, LOWEST)
        if not low:
            axes.hlines(height, max(bounds[0], LOWEST), bounds[1], color=colour, linewidth=1.6, zorder=2)
        axes.plot(at, height, "<" if low else shape, color=colour, markersize=6, zorder=3, label=name)
        if low:
            axes.annotate(f"{score:.2f}", (at, height), (8, 0), textcoords="offset points", va="center",
                          fontsize=9, color=INK)  # fmt: skip
        name = None  # one line in the legend
