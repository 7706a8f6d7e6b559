"""The KL's estimators in the reward and in the loss: exact bias, variance and ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks.claims.page import Page, table
from benchmarks.studies import fixed_points, mistakes
from benchmarks.studies.fixed_points import Update, backward
from benchmarks.studies.followed import sequence_k3_in_the_reward, token_k3_in_the_reward
from benchmarks.studies.laws import highest, of_law, sequence_forward_kl
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT
from klrl_envs.signals.batch import Batch, Loss
from klrl_envs.signals.known import leave_one_out

NAME = "kl_estimators"
TASK = mistakes.ONE_PRICE
PRICES = (0.02, 0.1, 0.5, 2.0)
SEEDS = (0, 1)
GROUP = 2
UNBIASED = 1e-9
FOLLOWED, FASTEST, PACE = 1_000, 1.0, 0.08
"""Steps of k3 in the reward, the largest of them, and their size at a price, times the price."""
AT_REST = 1e-3
"""Of a score, in the second half of the steps, beside 1 or the score's size: less is an end."""
LINEAR, DEEPEST = 1.0, -3_000.0
"""The figure's scale of scores is linear down to minus this, logarithmic below, and ends there."""
LOOKS = (
    ("#009E73", "o"), ("#009E73", "s"), ("#009E73", "^"), ("#0072B2", "s"), ("#0072B2", "^"),
    ("#E69F00", "D"), ("#882255", "D"), ("#999999", "X"), ("#999933", "v"), ("#D55E00", "P"),
    ("#CC3311", "*"),
)  # fmt: skip
"""Of the estimators in their order: green what is right."""

Kind = Literal["k1", "k2", "k3", "weighted k3"]
Place = Literal["reward", "loss"]
Level = Literal["token", "text"]

CLAIMED = """
Shah and others 2025, *A comedy of estimators* (2512.21852): of the ways to put an estimate of the KL into
RL of language models those with a biased gradient may make training unstable, and those with an unbiased
one, k1 in the reward, do better. Liu and others 2025, *Rethinking KL regularization in RLHF*
(2510.01555): k1 in the reward is right, k2 as a loss has the same gradient on-policy, and k3 as a loss is
a first-order, biased approximation. Read were both abstracts; that k3 in the reward collapses is reported
of the first and was not read there.
"""
MEASURED = """
Each estimator is written as a loss, with leave-one-out advantages in groups of {group}. On {tasks} tiny
tasks of two prompts with 7 texts its expected gradient and its variance are sums over all groups of
texts; its end, on the first, is followed from pi0 by the exact natural gradient. *Bias* is the distance
of the expected gradient from that of the objective, in lengths of that, half way to pi\\*. *Spread* is
the root of the summed variances of a call's gradient in units of that of k1 in the reward at pi0. On
DiagnosticCoefficient-v0 the end at each of its prices of KL is a fixed point: of an unbiased estimator
that of the objective itself, which is not followed; of k3 in the reward where {followed:,} exact natural
gradient steps lead, and it is said where the second half of them still moved it. A score counts from pi0
(0) to the optimum (1). k1 = l, k2 = l^2 / 2, k3 = e^-l - 1 + l of l = log pi - log pi0, of a token or of
the text; *weighted* is multiplied by pi / pi_old, with its gradient.
"""
NOT_SHOWN = """
What happens off-policy, where texts are older than the policy and every one of these needs a correction,
or with clipping. How far k3 in the reward, per token, falls in the end: it drops one token after the other,
so that where it is not at rest its score belongs to the number and the length of the steps. Ends are those
of a perfect optimiser: a run that stops early may do better with a wrong signal than its end says. And a
task with few texts has mild variances: with long texts k3 of the whole text explodes.
"""


@dataclass(frozen=True)
class Estimator:
    """An estimate of the KL: which, where it stands, and of what."""

    kind: Kind
    place: Place
    level: Level

    @property
    def label(self) -> str:
        """In words."""
        return f"{self.kind} in the {self.place}" + ("" if self.kind == "k1" else f", per {self.level}")


ESTIMATORS = (
    Estimator("k1", "reward", "text"),
    Estimator("k2", "loss", "text"),
    Estimator("weighted k3", "loss", "text"),
    Estimator("k2", "loss", "token"),
    Estimator("weighted k3", "loss", "token"),
    Estimator("k3", "loss", "token"),
    Estimator("k3", "loss", "text"),
    Estimator("k1", "loss", "text"),
    Estimator("k2", "reward", "text"),
    Estimator("k3", "reward", "token"),
    Estimator("k3", "reward", "text"),
)


SHIFTS = dict(zip(ESTIMATORS, (-1.0, 0.0, 1.0, -0.5, 0.5)))
APART = 1.12
"""Estimators with one end lie side by side in the figure, so many steps of this factor from their price."""


@dataclass(frozen=True)
class Row:
    """What is said of an estimator.

    Attributes:
        estimator: which.
        bias: at half way to pi*, the mean over the tiny tasks.
        spreads: at pi0, half way and pi*, in units of k1's in the reward at pi0.
        tiny: the score of its end on the first tiny task.
        ends: its score at each of ``PRICES``; None where no solver has it.
        moving: for each of them whether it had not come to rest.
    """

    estimator: Estimator
    bias: float
    spreads: tuple[float, ...]
    tiny: float
    ends: tuple[float, ...] | None
    moving: tuple[bool, ...] = (False,) * len(PRICES)

    def shown(self) -> list[str]:
        """The ends as cells of a table; those that are none say so."""
        if self.ends is None:
            return [""] * len(PRICES)
        return [
            f"{score:.3f}" + " (not at rest)" * moved
            for score, moved in zip(self.ends, self.moving, strict=True)
        ]


def loss_of(estimator: Estimator) -> Loss:
    """The estimator as a trainer would write it."""

    def loss(batch: Batch) -> torch.Tensor:
        log_ratio = (batch.log_probs - batch.reference_log_probs) * batch.mask
        if estimator.level == "text":
            log_ratio = log_ratio.sum(dim=1, keepdim=True)
        k3 = torch.exp(-log_ratio) - 1 + log_ratio
        estimates: dict[Kind, torch.Tensor] = {
            "k1": log_ratio,
            "k2": log_ratio**2 / 2,
            "k3": k3,
            "weighted k3": torch.exp(log_ratio - log_ratio.detach()) * k3,
        }
        estimate = estimates[estimator.kind].sum(dim=1)
        in_reward = estimator.place == "reward"
        reward = batch.rewards - batch.kl_coef * estimate.detach() if in_reward else batch.rewards
        advantage = leave_one_out(reward, batch.group_size)
        value = -(advantage * (batch.log_probs * batch.mask).sum(dim=1)).mean()
        return value if in_reward else value + batch.kl_coef * estimate.mean()

    return loss


def on_tiny_tasks() -> list[tuple[float, tuple[float, ...], float]]:
    """For each estimator: bias half way, deviations at three policies, and the score of its end."""
    from klrl_envs.signals.calls import calls_of
    from klrl_envs.signals.check import one_thread
    from klrl_envs.signals.directions import objective
    from klrl_envs.signals.ends import follow
    from klrl_envs.signals.expected import Signal
    from klrl_envs.signals.policy import optimal
    from klrl_envs.signals.tiny import random_task

    rows: list[tuple[float, tuple[float, ...], float]] = []
    with one_thread():
        for estimator in ESTIMATORS:
            biases, deviations, scores = [], [], []
            for seed in SEEDS:
                task = random_task(seed=seed)
                signal = Signal(loss_of(estimator), task, calls_of(task.prompts, task.texts, GROUP, 1))
                half, known = optimal(task, 0.5), objective(task, optimal(task, 0.5))
                ascent = -signal.gradients(half).mean
                biases.append(np.linalg.norm((ascent - known)[:, :-1]) / np.linalg.norm(known[:, :-1]))
                at = (task.reference, half, optimal(task))
                deviations.append([signal.gradients(policy).deviation for policy in at])
                if seed == SEEDS[0]:
                    scores.append(follow(signal).at.score)
            spread = tuple(float(each) for each in np.mean(deviations, axis=0))
            rows.append((float(np.mean(biases)), spread, scores[0]))
    return rows


def ends(
    estimator: Estimator, problem: Problem, law: TerminalLaw, kl_coef: float, steps: int = FOLLOWED
) -> float | None:
    """The objective at an estimator's end on an exact task; None where there is no solver for it.

    Args:
        estimator: which.
        problem, law: of the task.
        kl_coef: the price.
        steps: of what is followed.
    """
    from klrl_envs.optima.forward import evaluate_markov

    updates: dict[tuple[Kind, Place, Level], Callable[[float], Update]] = {
        ("k1", "reward", "text"): fixed_points.objective_itself,
        ("k2", "loss", "text"): fixed_points.objective_itself,
        ("weighted k3", "loss", "text"): fixed_points.objective_itself,
        ("k2", "loss", "token"): fixed_points.local_kl,
        ("weighted k3", "loss", "token"): fixed_points.local_kl,
        ("k3", "loss", "token"): fixed_points.local_forward_kl,
    }
    which: tuple[Kind, Place, Level] = (estimator.kind, estimator.place, estimator.level)
    rate = min(FASTEST, PACE / kl_coef)
    if which == ("k3", "loss", "text"):
        return of_law(law, sequence_forward_kl(law, kl_coef), kl_coef).objective
    if which == ("k1", "loss", "text"):  # of mean zero: the reward alone
        return of_law(law, highest(law), kl_coef).objective
    if which == ("k3", "reward", "text"):
        *_, last = sequence_k3_in_the_reward(law, kl_coef, steps=steps, learning_rate=rate)
        return of_law(law, last, kl_coef).objective
    if which == ("k3", "reward", "token"):
        policy = token_k3_in_the_reward(problem, kl_coef, steps=steps, learning_rate=rate)
    elif which in updates:
        policy = backward(problem, updates[which](kl_coef))
    else:
        return None
    return evaluate_markov(problem, policy.state_log_probs, kl_coef=kl_coef).objective


def on_prices() -> list[tuple[tuple[float, ...], tuple[bool, ...]] | None]:
    """For each estimator the score of its end at each price of KL, and whether it was still moving."""
    from klrl_envs.optima.terminal_law import terminal_law

    _, best = mistakes.task_and_optimum(TASK)
    assert best.policy is not None
    problem = best.policy.problem
    law = terminal_law(problem)
    start = law.reference_value
    rows: list[tuple[tuple[float, ...], tuple[bool, ...]] | None] = []
    for estimator in ESTIMATORS:
        followed = (estimator.kind, estimator.place) == ("k3", "reward")
        scores: list[float] = []
        moving: list[bool] = []
        for kl_coef in PRICES:
            values = [
                ends(estimator, problem, law, kl_coef, steps)
                for steps in ((FOLLOWED // 2, FOLLOWED) if followed else (FOLLOWED,))
            ]
            reached = [
                (value - start) / (law.optimum(kl_coef)[0] - start) for value in values if value is not None
            ]
            if reached:
                scores.append(reached[-1])
                moving.append(abs(reached[-1] - reached[0]) > AT_REST * max(1.0, abs(reached[-1])))
        rows.append((tuple(scores), tuple(moving)) if scores else None)
    return rows


def measure() -> list[Row]:
    """Every estimator."""
    tiny = on_tiny_tasks()
    unit = tiny[0][1][0]
    rows: list[Row] = []
    for estimator, (bias, spread, score), at_prices in zip(ESTIMATORS, tiny, on_prices(), strict=True):
        row = Row(estimator, bias, tuple((np.array(spread) / unit).tolist()), score, None)
        if at_prices is not None:
            row = replace(row, ends=at_prices[0], moving=at_prices[1])
        rows.append(row)
    return rows


def found(rows: list[Row]) -> list[str]:
    """What came out."""
    by = {row.estimator.label: row for row in rows}
    right = [row for row in rows if row.bias < UNBIASED]
    token, text = by["k3 in the reward, per token"], by["k3 in the reward, per text"]
    published, none = by["k3 in the loss, per token"], by["k1 in the loss"]
    assert token.ends and text.ends and published.ends and none.ends
    k1 = by["k1 in the reward"]
    k2, weighted = by["k2 in the loss, per text"], by["weighted k3 in the loss, per text"]

    def told(row: Row) -> str:
        assert row.ends is not None
        return ", ".join(f"{score:.2f}" for score in row.ends)

    at_best = max(abs(row.tiny - 1) for row in right)
    return [
        f"""k1 in the reward is right; k3 in the reward collapses where KL is dear, and hides where it is
        cheap. Unbiased are {"; ".join(row.estimator.label for row in right)}: followed on a tiny task these
        end within {max(at_best, 1e-6):.0e} of the optimum's score, and at every price the optimum is
        a fixed point of theirs. k3 in the reward pays for dropping texts: at kl_coef
        {", ".join(f"{price:g}" for price in PRICES)} it has scores of {told(token)} per token, not
        yet at rest after {FOLLOWED:,} steps at {sum(token.moving)} of these prices, and {told(text)} per
        text (below 0: worse than pi0). k1 as a loss has no effect on average, adds
        variance, and ends where the reward alone does ({told(none)}).""",
        f"""k3 as a loss, per token, as published with GRPO, is more than a first-order matter: its
        gradient's bias is {published.bias:.2f} half way, but its ends score {told(published)}. KL(pi0 ||
        pi), which it descends, charges for what loses probability and hardly for a rare token that gains
        it, so that the KL that is meant may grow almost for nothing.""",
        f"""By variance the unbiased differ with the policy: at pi0 they are alike, half way k1 in the
        reward, k2 and weighted k3 in the loss spread {k1.spreads[1]:.2f}, {k2.spreads[1]:.2f} and
        {weighted.spreads[1]:.2f}, at pi\\* {k1.spreads[2]:.2f}, {k2.spreads[2]:.2f} and
        {weighted.spreads[2]:.2f} (1: k1 in the reward at pi0). In the reward k1 shares the leave-one-out
        baseline, so that at the optimum, where r - kl_coef l is one number for all texts of a prompt,
        nothing scatters; in the loss an estimator has no baseline.""",
    ]


def page(rows: list[Row]) -> Page:
    """What there is to say."""
    columns = (
        "estimator", "bias", "spread at pi0", "half way", "at pi\\*",
        "end of a tiny task", *(f"kl_coef {price:g}" for price in PRICES),
    )  # fmt: skip
    cells = [
        (
            row.estimator.label,
            "0" if row.bias < UNBIASED else f"{row.bias:.2f}",
            *(f"{each:.2f}" for each in row.spreads),
            f"{row.tiny:.3f}",
            *row.shown(),
        )
        for row in rows
    ]
    return Page(
        name=NAME,
        title="Of the KL's estimators, k1 in the reward is right and k3 in the reward collapses",
        sources=("2512.21852", "2510.01555"),
        claimed=CLAIMED,
        measured=MEASURED.format(group=GROUP, tasks=len(SEEDS), followed=FOLLOWED),
        found=found(rows),
        tables=(
            (
                "Bias and spread on the tiny tasks, and the scores of the ends, there and on "
                "DiagnosticCoefficient-v0 at each price.",
                table(columns, cells),
            ),
        ),
        not_shown=NOT_SHOWN,
    )


def draw(rows: list[Row], out: Path) -> None:
    """The figure: ends against the price of KL, and bias against spread."""
    with drawing(out / NAME, (13, 6)) as figure:
        left, right = figure.subplots(1, 2)
        for row, (colour, shape) in zip(rows, LOOKS, strict=True):
            label = row.estimator.label
            if row.ends is not None:
                beside = APART ** SHIFTS.get(row.estimator, 0.0)
                prices = [price * beside for price in PRICES]
                left.plot(prices, row.ends, "-", marker=shape, color=colour, markersize=7, linewidth=1.5)
            right.plot(row.bias, row.spreads[2], shape, color=colour, markersize=9, alpha=0.85, label=label)
        left.set_xscale("log")
        left.set_xticks(PRICES, [f"{price:g}" for price in PRICES])
        left.set_yscale("symlog", linthresh=LINEAR)
        left.set_yticks([1, 0, -1, -10, -100, -1000], ["1", "0", "-1", "-10", "-100", "-1000"])
        left.set_ylim(DEEPEST, 2)
        left.axhline(0, color=SOFT, linewidth=0.8)
        left.set_xlabel("kl_coef of DiagnosticCoefficient-v0")
        left.set_ylabel("score of the end (logarithmic below -1)")
        right.set_xlabel("bias of the gradient half way, in lengths of the objective's")
        right.set_ylabel("spread of the gradient at pi* (1: k1 in the reward at pi0)")
        for axes, title in (
            (left, "where each ends (those of one end side by side)"),
            (right, "tiny tasks: bias and spread"),
        ):
            axes.set_title(title, loc="left", fontsize=11, color=INK)
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
