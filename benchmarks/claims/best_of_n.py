"""Best-of-n against the KL-regularised limit, and trained policies beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.claims.frontier import (
    MOST,
    BestOf,
    Share,
    best_count,
    best_of_law,
    best_of_samples,
    count_at,
    reward_at,
    reward_on,
)
from benchmarks.claims.page import Page, percent, percents, table
from benchmarks.studies.laws import OperatingPoint
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.results.drawing import drawing
from klrl_envs.results.entry import Entry, load_entries
from klrl_envs.results.look import INK, SOFT, styles
from klrl_envs.tasks.row import Row, short_id

NAME = "best_of_n"
COUNTS = tuple(2**power for power in range(1, 11))
"""The n whose smallest share of the frontier is told."""
VARIANTS = ("klrl/DiagnosticNoise-v0", "klrl/DiagnosticReference-v0", "klrl/DiagnosticVocabulary-v0")
"""Their reward has the law of DiagnosticCoefficient-v0; of Noise-v0 the best would be chosen by noise."""
MOST_OF_SAMPLES = 100
"""Samples of a prompt for each of the n of which the best is taken, at least."""
GRID = 80
NEURAL = "klrl/Sentiment-v0"
CLAIMED = """
Paes, Mackraz, Theobald and Danieli 2026, *Theoretical limits of language model alignment*: on safety and
on summarisation best-of-n comes close to the largest reward that a KL budget allows, while PPO and GRPO
stay substantially below. Of the paper its abstract was read; no figure of it is quoted. (The Jeffreys
divergence of its closed form is in this suite's terms E\\*[r] - E_0[r] = kl_coef (KL(pi\\* || pi0) +
KL(pi0 || pi\\*)).)
"""
MEASURED = """
The law of the reward under pi0 is computed by one forward pass, and with it best-of-n for every n and the
frontier at every KL. *Share* is the part of the reward above pi0's that is to be had at a policy's own
KL: 1 on the frontier. *Best n* is the best of all n at the task's declared kl_coef. Where a neural task
has a certificate, the law is that of its samples, and n at most a hundredth of them. Trained policies are
the learners of the leaderboard's entries, means over their seeds; where there are several, half of
Student's 95 % interval of the share over seeds stands beside it, in which the certificate, that all seeds
share, has no part. Left out, as the reward does not determine the optimum, or is none, or has the law of
another row's: {}.
"""
NOT_SHOWN = """
Whether PPO and GRPO on language models of billions of weights fall as far below: the learners here are
small, on the exact tasks most see the state that the reward depends on, and their budgets are the
leaderboard's. The sampling errors of the neural tasks' certificates, which best-of-n and the frontier have
in common, are not told. A share says nothing of how much KL was spent: a policy that
stopped early may lie on the frontier with a low score. And n texts for an answer are paid each time, a
training once.
"""


@dataclass(frozen=True)
class Yardstick:
    """J*, J(pi0), best-of-n up to the largest n that it is good for, and the most reward at a KL."""

    value: float
    reference_value: float
    point: BestOf | None
    at_most: Callable[[float], float]
    most: int = MOST

    def share(self, point: OperatingPoint) -> Share:
        """A point beside the frontier."""
        return Share(point, self.at_most(point.kl), self.reference_value)


@dataclass(frozen=True)
class Best:
    """Best-of-n on one task: the best n, its score, its share of the frontier, and the smallest of
    ``COUNTS``.

    ``binary`` says whether the reward has two values alone and there are no prompts, ``exact`` whether
    nothing is sampled.
    """

    env_id: str
    kl_coef: float
    count: int
    score: float
    share: Share
    smallest: Share
    smallest_count: int
    binary: bool
    exact: bool


@dataclass(frozen=True)
class Trained:
    """A learner of the leaderboard: means over its seeds, its share, and best-of-n at the same KL.

    ``count`` is None where the task's reward has no terminal law, or no n has that KL; ``margin``, half of
    the 95 % interval of the share, where there is one seed.
    """

    env_id: str
    agent: str
    score: float
    share: Share
    count: float | None
    best: Share | None
    margin: float | None = None


@dataclass(frozen=True)
class Measured:
    """All rows."""

    best: list[Best]
    trained: list[Trained]
    left_out: list[str]


@cache
def law_of(env_id: str) -> TerminalLaw | None:
    """The law of a task's reward under pi0; None where it does not determine the optimum."""
    import klrl_envs
    from klrl_envs.optima.optimum import problem_of
    from klrl_envs.optima.terminal_law import terminal_law

    task = klrl_envs.evaluation_task(env_id).exact
    if task is None:
        return None
    problem = problem_of(task)
    if not (problem.automaton.terminal and problem.automaton.deterministic):
        return None
    return terminal_law(problem)


@cache
def yardstick(env_id: str) -> Yardstick:
    """Best-of-n and the frontier of a task: exact by the law of the reward, or of a certificate's samples."""
    import klrl_envs

    law, kl_coef = law_of(env_id), klrl_envs.find_row(env_id).kl_coef
    if law is not None:
        return Yardstick(
            law.optimum(kl_coef)[0],
            law.reference_value,
            best_of_law(law, kl_coef),
            lambda kl: reward_at(law, kl, kl_coef),
        )
    best = klrl_envs.optimum(env_id)
    grid = best.frontier(np.geomspace(kl_coef / 20, kl_coef * 50, GRID).tolist())
    known = Yardstick(best.value, best.reference_value, None, lambda kl: reward_on(grid, kl))
    certificate = best.certificate
    if certificate is None:
        return known
    point = best_of_samples(certificate.rewards, kl_coef)
    return replace(known, point=point, most=certificate.samples // MOST_OF_SAMPLES)


def best_on(row: Row, binary: bool) -> Best:
    """Best-of-n on a task."""
    known = yardstick(row.gym_id)
    assert known.point is not None
    count = best_count(known.point, known.most)
    shares = {n: known.share(known.point(n)) for n in COUNTS if n <= known.most}
    lowest = min(shares, key=lambda n: shares[n].share)
    share = known.share(known.point(count))
    score = (share.point.objective - known.reference_value) / (known.value - known.reference_value)
    exact = law_of(row.gym_id) is not None
    return Best(row.gym_id, row.kl_coef, count, score, share, shares[lowest], lowest, binary, exact)


def learners() -> list[Entry]:
    """The entries of the leaderboard that learn and have a score."""
    from leaderboard.folder import ENTRIES

    return [each for each in load_entries(ENTRIES) if each.agent.kind == "learner" and each.score is not None]


def trained_rows() -> list[Trained]:
    """The learners of the leaderboard's entries, each beside the frontier at its own KL."""
    rows: list[Trained] = []
    for entry in learners():
        assert entry.score is not None
        known, kl = yardstick(entry.env_id), entry.mean("kl")
        reward = entry.mean("expected_reward")
        count = None if known.point is None else count_at(known.point, kl, known.most)
        beside = None if known.point is None or count is None else known.share(known.point(count))
        own = known.share(OperatingPoint(reward, kl, reward - entry.kl_coef * kl))
        each = [
            known.share(OperatingPoint(seed.expected_reward, seed.kl, seed.objective)).share
            for seed in entry.seeds
        ]
        rows.append(Trained(entry.env_id, entry.agent.name, entry.score, own, count, beside, margin(each)))
    return rows


def margin(values: list[float]) -> float | None:
    """Half of Student's 95 % interval of a mean; None of one value."""
    from klrl_envs.evaluation.estimators import student

    count = len(values)
    return student(count - 1) * float(np.std(values, ddof=1)) / count**0.5 if count > 1 else None


def measure() -> Measured:
    """Every task whose reward has a law, each law once, those with a certificate, and the learners."""
    from klrl_envs.registry import REGISTRY

    rows: list[Best] = []
    left_out: list[str] = []
    for row in REGISTRY:
        law = None if row.gym_id in VARIANTS else law_of(row.gym_id)
        if "exact" not in row.tags or (law is not None and law.rewards.size > 1):
            rows.append(best_on(row, law is not None and law.probabilities.shape == (1, 2)))
        else:
            left_out.append(short_id(row.gym_id))
    return Measured(sorted(rows, key=lambda row: row.share.share), trained_rows(), left_out)


def by_task(rows: list[Trained]) -> dict[str, list[Trained]]:
    """Rows by their environments, in their order."""
    return {
        env_id: [row for row in rows if row.env_id == env_id]
        for env_id in dict.fromkeys(r.env_id for r in rows)
    }


def found(measured: Measured) -> list[str]:
    """What came out."""
    import klrl_envs

    best, trained = measured.best, measured.trained
    neural = [row for row in trained if "neural" in klrl_envs.find_row(row.env_id).tags]
    learnt = [row for row in trained if row not in neural]
    sampled = next(row for row in best if row.env_id == NEURAL)
    beside = [row for row in learnt if row.best is not None]
    above = [
        f"{row.agent} on {short_id(row.env_id)}"
        for row in beside
        if row.best is not None and row.share.share > row.best.share
    ]
    worst = min(best, key=lambda row: row.smallest.share)
    lowest = min(best, key=lambda row: row.score)
    widest = max(row.margin for row in neural if row.margin is not None)
    there = "; ".join(
        f"""on {short_id(env_id)} {percents([row.share.share for row in rows])} (best-of-n
        {percents([row.best.share for row in rows if row.best is not None])})"""
        for env_id, rows in by_task(neural).items()
    )
    leading = [max(row.share.share for row in rows) for rows in by_task(learnt).values()]
    return [
        f"""Best-of-n, at its best n, has {percents([row.share.share for row in best])} of the gain over pi0
        that is to be had at its KL, on {len(best)} tasks: the first half of the claim holds. The second half
        holds on the neural tasks and fails on the exact ones, where learners see the state that the reward
        depends on. Of that gain at their KL learners have {there}, give or take at most {100 * widest:.0f}
        points over seeds where there are several. On {len(leading)} exact tasks the learner nearest to the
        frontier has {percents(leading)}, and all have {percents([row.share.share for row in learnt])}.""",
        f"""By score, which counts what the KL costs, the best of {sampled.count} has {sampled.score:.3f}
        on {short_id(NEURAL)} and the best learner
        {max(row.score for row in neural if row.env_id == NEURAL):.3f}. Of the {len(beside)} rows of learners
        that can be compared with exact best-of-n at equal KL, those above it are:
        {", ".join(above) or "none"}.""",
        f"""Where the reward has two values and there are no prompts ({sum(row.binary for row in best)} of
        the tasks) best-of-n lies on the frontier itself: every policy does that favours the higher value
        without regard to the rest. It is furthest off where n is small and the best texts are rare (n =
        {worst.smallest_count} on {short_id(worst.env_id)}: {percent(worst.smallest.share)}), and loses
        most score where prompts have unequal stakes, as one n spends the same on each
        ({short_id(lowest.env_id)}: {lowest.score:.3f}).""",
    ]


def page(measured: Measured) -> Page:
    """What there is to say."""
    return Page(
        name=NAME,
        title="Best-of-n is close to the KL-regularised limit; trained policies fall far below",
        sources=("2605.07105", "2401.01879"),
        claimed=CLAIMED,
        measured=MEASURED.format(", ".join(measured.left_out)),
        found=found(measured),
        tables=(
            (
                "Best-of-n at the best n, the furthest from the frontier first.",
                best_table(measured.best),
            ),
            (
                "Trained policies, and best-of-n at the same KL (n between whole numbers).",
                trained_table(measured.trained),
            ),
        ),
        not_shown=NOT_SHOWN,
    )


def best_table(rows: list[Best]) -> str:
    """Best-of-n, a row a task."""
    columns = (
        "task",
        "kl_coef",
        "best n",
        "KL (nats)",
        "E[r]",
        "frontier at that KL",
        "share of the gain",
        "score",
    )
    return table(
        columns,
        [
            (
                short_id(row.env_id) + ("" if row.exact else " (*sampled*)"), f"{row.kl_coef:g}",
                f"{row.count:,}", f"{row.share.point.kl:.2f}", f"{row.share.point.expected_reward:.3f}",
                f"{row.share.at_most:.3f}", percent(row.share.share), f"{row.score:.3f}",
            )
            for row in rows
        ],
    )  # fmt: skip


def trained_table(rows: list[Trained]) -> str:
    """Learners, a row each."""
    columns = (
        "environment", "agent", "KL (nats)", "E[r]", "frontier at that KL", "share of the gain",
        "+- (points)", "score", "n of equal KL", "share of best-of-n there",
    )  # fmt: skip
    return table(
        columns,
        [
            (
                short_id(row.env_id), row.agent, f"{row.share.point.kl:.2f}",
                f"{row.share.point.expected_reward:.3f}", f"{row.share.at_most:.3f}",
                percent(row.share.share), "" if row.margin is None else f"{100 * row.margin:.1f}",
                f"{row.score:.3f}",
                "" if row.count is None else f"{row.count:,.0f}",
                "" if row.best is None else percent(row.best.share),
            )
            for row in rows
        ],
        words=2,
    )  # fmt: skip


def draw(measured: Measured, out: Path) -> None:
    """The figure: shares of the frontier, of best-of-n and of learners."""
    dealt = styles({row.agent for row in measured.trained})
    with drawing(out / NAME, (12, 2.8 + 0.3 * len(measured.best))) as figure:
        left, right = figure.subplots(1, 2)
        for height, row in enumerate(reversed(measured.best)):
            left.plot(
                [row.smallest.share, row.share.share], [height, height], color=SOFT, linewidth=1.2, zorder=1
            )
            left.plot(row.smallest.share, height, "|", color=SOFT, markersize=9, markeredgewidth=1.6)
            left.plot(row.share.share, height, "o", color="#0072B2", markersize=8, zorder=3)
        names = [f"{short_id(row.env_id)}, n = {row.count:,}" for row in reversed(measured.best)]
        left.set_yticks(range(len(names)), names, fontsize=9)
        left.set_title(
            "best-of-n (dot: the best n; bar: worst of 2 to 1024)", loc="left", fontsize=10, color=INK
        )
        tasks = by_task(sorted(measured.trained, key=lambda row: row.env_id, reverse=True))
        for height, rows in enumerate(tasks.values()):
            for row in rows:
                colour, shape = dealt[row.agent]
                right.plot(row.share.share, height, shape, color=colour, markersize=7, zorder=3)
                if row.best is not None:
                    ring = {"markerfacecolor": "none", "color": "#0072B2", "markersize": 11}
                    right.plot(row.best.share, height, "o", **ring)
        right.set_yticks(range(len(tasks)), [short_id(env_id) for env_id in tasks], fontsize=9)
        for agent, (colour, shape) in sorted(dealt.items()):
            right.plot([], [], shape, color=colour, label=agent)
        figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=9)
        right.set_title(
            "trained policies (ring: best-of-n at the same KL)", loc="left", fontsize=10, color=INK
        )
        for axes in (left, right):
            axes.axvline(1, color=INK, linewidth=1.2)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#e6e9ee", linewidth=0.8)
            axes.set_axisbelow(True)
            axes.set_xlabel("share of the gain at its KL (1: the frontier)")
