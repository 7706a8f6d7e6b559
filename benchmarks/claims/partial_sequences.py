"""Partial sequences: what values of prefixes save in variance, and what they cost where they are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.claims.advantages import (
    Values,
    advantages,
    discounted,
    end,
    learnt_values,
    moments,
    paid,
    true_values,
    values_by_position,
)
from benchmarks.claims.page import Page, table
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK
from klrl_envs.signals.policy import log_law, optimal, standing
from klrl_envs.signals.tiny import TinyTask, random_task

NAME = "partial_sequences"
SEEDS = (0, 1, 2)
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
ERRORS = (0.0, 0.25, 0.5, 1.0)
"""Standard deviations of a critic's error, in those of the true values over pi0's states."""
BATCHES = (16, 256, 4_096)
ROUNDING = 1e-6
STALE, BLIND = "those of pi0", "without the KL"
LEARNT = (4, 16, 64)
"""Texts of a prompt that a critic is fitted to, anew at every step."""
FITTED, PLACED = "learnt from {} texts", "learnt of the position alone"

CLAIMED = """
Ahmadian and others 2024, *Back to basics* (2402.14740): many of the motives of PPO matter less in RL from
human feedback, and far simpler REINFORCE-style methods do better. Of the paper its abstract was read;
that modelling partial sequences is unnecessary, and that lambda = 1 does best as the variance is small to
begin with, is the claim as others report it.
"""
MEASURED = """
Tiny tasks of two prompts with {texts} texts of up to {tokens} tokens, a random reward at the end of each
({tasks} of them). At every lambda of generalised advantage estimation the gradient of one text has an
exact mean and variance: with true values, and with values that are off by a fixed normal error at every
state, of {errors} standard deviations of the true values. Beside it stands a text as one action: its
whole return less the prompt's mean, which knows no partial sequence. Ends are followed from pi0 by the
exact natural gradient, the critic being kept current but for its error; two more critics are wrong in a
way that is known: one that still has pi0's values, one of the reward without the KL. And critics are
learnt: fitted by regression, anew at every step, to {learnt} texts of each prompt by the present policy,
others than the gradient's, a state that was not seen having the mean return (exact, as the mean over all
draws of these texts); and one that knows no more of a text than its prompt and its length so far, fitted
to all texts. A batch's error is bias^2 + variance / texts.
"""
NOT_SHOWN = """
How wrong a network's critic is, which generalises from state to state, lags behind the policy and is
fitted to the gradient's own texts: the learnt ones here are tables, or a constant for a position, and what
the draw of their texts adds to the variance is not in their ends. The fixed errors are independent from
state to state and do not shrink by training. Texts are a few tokens long: with the length the variance of
a return without values grows, and so does what values save. A reward at the end that depends on the whole
text at random leaves prefixes little to know; tasks whose first tokens decide leave more.
"""


@dataclass(frozen=True)
class Measured:
    """Means over the tasks.

    Attributes:
        variances: policy -> at each of ``LAMBDAS``, true values, in units of lambda = 1 at pi0.
        one_action: policy -> the same of a text as one action.
        chosen: error -> at each of ``BATCHES`` the lambda of the least error half way to pi*.
        bias: error -> at each of ``LAMBDAS``, of the gradient half way, in lengths of it.
        ends: critic -> at each of ``LAMBDAS`` the score of the end.
        worst: the same of the worst task.
        texts: of a prompt.
        tokens: of the longest text.
    """

    variances: dict[str, list[float]]
    one_action: dict[str, float]
    chosen: dict[float, list[float]]
    bias: dict[float, list[float]]
    ends: dict[str, list[float]]
    worst: dict[str, list[float]]
    texts: int
    tokens: int


def tasks() -> list[TinyTask]:
    """The tiny tasks."""
    return [random_task(words=2, horizon=4, seed=seed) for seed in SEEDS]


def off_by(task: TinyTask, error: float, seed: int) -> Values:
    """A critic that is current but for a fixed normal error, in standard deviations of pi0's true values."""
    known = true_values(task, task.reference)
    size = error * float(known[:, np.unique(task.states[task.mask])].std())
    noise = size * np.random.default_rng(seed).normal(size=known.shape)
    return lambda task, rows: true_values(task, rows) + noise


def critics(task: TinyTask, seed: int) -> dict[str, Values]:
    """All critics."""
    stale = true_values(task, task.reference)

    def blind(task: TinyTask, rows: FloatArray) -> FloatArray:
        free = TinyTask(**{**vars(task), "kl_coef": 0.0})
        return true_values(free, rows)

    found: dict[str, Values] = {f"off by {error:g}": off_by(task, error, seed) for error in ERRORS}
    found |= {STALE: lambda task, rows: stale, BLIND: blind}
    found |= {FITTED.format(count): learnt_from(count) for count in LEARNT}
    return found | {PLACED: values_by_position}


def learnt_from(texts: int) -> Values:
    """A critic that is fitted to so many texts of each prompt."""
    return lambda task, rows: learnt_values(task, rows, texts)


def as_one_action(task: TinyTask, rows: FloatArray) -> FloatArray:
    """The whole return of a text less its prompt's mean, at every token [P, N, T]."""
    whole = discounted(paid(task, rows), 1.0)[:, :, :1]
    mean = (np.exp(log_law(task, rows))[:, :, None] * whole).sum(axis=1, keepdims=True)
    return (whole - mean) * task.mask


def measure() -> Measured:
    """Every task, and the means over them."""
    made = tasks()
    names = ("pi0", "half way", "a tenth to go")
    variances = {name: np.zeros(len(LAMBDAS)) for name in names}
    one_action: dict[str, float] = {name: 0.0 for name in names}
    errors = {error: np.zeros((len(BATCHES), len(LAMBDAS))) for error in ERRORS}
    bias = {error: np.zeros(len(LAMBDAS)) for error in ERRORS}
    scores: dict[str, list[list[float]]] = {}
    for seed, task in zip(SEEDS, made, strict=True):
        policies = dict(zip(names, (task.reference, optimal(task, 0.5), optimal(task, 0.9)), strict=True))
        unit = None
        for name, rows in policies.items():
            values = true_values(task, rows)
            found = [moments(task, rows, advantages(task, rows, values, one)).variance for one in LAMBDAS]
            unit = found[-1] if unit is None else unit
            variances[name] += np.array(found) / unit / len(made)
            whole = moments(task, rows, as_one_action(task, rows)).variance
            one_action[name] += whole / unit / len(made)
        half = policies["half way"]
        right = moments(task, half, advantages(task, half, true_values(task, half), 1.0)).mean
        length = float((right**2).sum())
        for error in ERRORS:
            values = off_by(task, error, seed)(task, half)
            for place, share in enumerate(LAMBDAS):
                got = moments(task, half, advantages(task, half, values, share))
                square = float(((got.mean - right) ** 2).sum())
                bias[error][place] += np.sqrt(square / length) / len(made)
                errors[error][:, place] += [(square + got.variance / batch) / length for batch in BATCHES]
        for name, critic in critics(task, seed).items():
            ends = [standing(task, end(task, critic, share)).score for share in LAMBDAS]
            scores.setdefault(name, []).append(ends)
    return Measured(
        {name: each.tolist() for name, each in variances.items()},
        one_action,
        {error: [LAMBDAS[int(row.argmin())] for row in each] for error, each in errors.items()},
        {error: each.tolist() for error, each in bias.items()},
        {name: np.mean(each, axis=0).tolist() for name, each in scores.items()},
        {name: np.min(each, axis=0).tolist() for name, each in scores.items()},
        made[0].texts,
        made[0].tokens.shape[1],
    )


def found(measured: Measured) -> list[str]:
    """What came out."""
    start, half = measured.variances["pi0"], measured.variances["half way"]
    wrong = f"off by {ERRORS[2]:g}"
    at = LAMBDAS.index
    off = max(abs(1 - each[-1]) for each in measured.worst.values())
    learnt = ", ".join(f"{measured.ends[FITTED.format(n)][0]:.3f} from {n} texts" for n in LEARNT)
    whole, whole_half = measured.one_action["pi0"], measured.one_action["half way"]
    return [
        f"""The claim holds as a safe choice, and its price is known: a text as one action, with no
        partial sequences, needs {whole / start[0]:.1f} times the texts that lambda = 0 with perfect
        values needs at pi0 ({whole_half / half[0]:.1f} half way to pi\\*), and {whole / start[-1]:.2f}
        times those of lambda = 1 with perfect values. Most of what partial sequences could save thus lies
        in small lambda, where values have to be right.""",
        f"""Where values are wrong, lambda = 1 alone keeps the optimum: any error is then but a baseline,
        and no end of it misses a score of 1 by more than {max(off, ROUNDING):.0e}. With
        values that are off by {ERRORS[2]:g} standard deviations ends score {measured.ends[wrong][0]:.3f}
        at lambda 0, {measured.ends[wrong][at(0.5)]:.3f} at .5 and {measured.ends[wrong][at(0.95)]:.3f} at
        .95 (the worst task {measured.worst[wrong][0]:.3f}, {measured.worst[wrong][at(0.5)]:.3f},
        {measured.worst[wrong][at(0.95)]:.3f}); with pi0's values {measured.ends[STALE][0]:.3f} at 0, and
        with values without the KL {measured.ends[BLIND][0]:.3f}. With a critic that is learnt lambda = 0 ends
        at {learnt}, where the bias is of the states that these texts did not show, and goes with their
        number; with one that knows the position alone at {measured.ends[PLACED][0]:.3f}, where it stays.""",
        f"""For one step the best lambda rises with the error and with the batch: with
        values off by {ERRORS[1]:g} it is {", ".join(f"{one:g}" for one in measured.chosen[ERRORS[1]])}
        for batches of {", ".join(f"{batch:,}" for batch in BATCHES)} texts; with {ERRORS[3]:g},
        {", ".join(f"{one:g}" for one in measured.chosen[ERRORS[3]])}.""",
    ]


def page(measured: Measured) -> Page:
    """What there is to say."""
    columns = tuple(f"lambda {share:g}" for share in LAMBDAS)
    variances = [
        (name, *(f"{one:.3f}" for one in each), f"{measured.one_action[name]:.3f}")
        for name, each in measured.variances.items()
    ]
    ends = [
        (name, *(f"{one:.3f}" for one in each), f"{min(measured.worst[name]):.3f}")
        for name, each in measured.ends.items()
    ]
    biases = [
        (
            f"off by {error:g}",
            *(f"{one:.2f}" for one in each),
            *(f"{one:g}" for one in measured.chosen[error]),
        )
        for error, each in measured.bias.items()
    ]
    best = tuple(f"best lambda, {batch:,} texts" for batch in BATCHES)
    return Page(
        name=NAME,
        title="Partial sequences need no modelling",
        sources=("2402.14740",),
        claimed=CLAIMED,
        measured=MEASURED.format(
            texts=measured.texts, tokens=measured.tokens, tasks=len(SEEDS),
            errors=", ".join(f"{error:g}" for error in ERRORS[1:]),
            learnt=", ".join(map(str, LEARNT)),
        ),
        found=found(measured),
        tables=(
            ("Variance of a text's gradient with true values (1: lambda = 1 at pi0).",
             table(("policy", *columns, "text as one action"), variances)),
            ("Scores of the ends, by what is wrong with the critic.",
             table(("critic", *columns, "worst task and lambda"), ends)),
            ("Bias of the gradient half way to pi\\*, in lengths of it, and the lambda of least error.",
             table(("critic", *columns, *best), biases)),
        ),
        not_shown=NOT_SHOWN,
    )  # fmt: skip


def draw(measured: Measured, out: Path) -> None:
    """The figure: variance and end against lambda."""
    hues = (
        "#009E73", "#0072B2", "#D55E00", "#882255", "#E69F00", "#56B4E9", "#bbbbbb", "#888888", "#444444",
        "#CC79A7",
    )  # fmt: skip
    with drawing(out / NAME, (12.5, 4.8)) as figure:
        left, right = figure.subplots(1, 2)
        for (name, each), hue in zip(measured.variances.items(), hues):
            left.plot(LAMBDAS, each, "o-", color=hue, label=f"true values, {name}")
            left.axhline(measured.one_action[name], color=hue, linestyle=":", linewidth=1.4)
        left.set_ylim(bottom=0)
        left.set_ylabel("variance of a text's gradient")
        left.set_title("dotted: a text as one action", loc="left", fontsize=11, color=INK)
        for (name, each), hue in zip(measured.ends.items(), hues, strict=True):
            right.plot(LAMBDAS, each, "o-", color=hue, label=name)
        right.set_ylabel("score of the end")
        right.set_title("where it ends with values that are", loc="left", fontsize=11, color=INK)
        for axes in (left, right):
            axes.set_xlabel("lambda")
            axes.legend(frameon=False, fontsize=9)
