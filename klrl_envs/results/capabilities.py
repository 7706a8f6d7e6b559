"""What an agent's runs on the diagnostics say of it: a number in [0, 1] and a sentence for each capability.

As bsuite's report does for its core capabilities (Osband et al. 2020, arXiv 1908.03568, section 3); here
the optimum of every diagnostic is known, so that 1 means the same for all: what pi* does. What was not run
has no number.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from klrl_envs.envs.initial_policy import initial_policy_of
from klrl_envs.evaluation.comparison import ExactEvaluation, evaluate_exactly
from klrl_envs.registry import make_task, sweeps
from klrl_envs.results.points import Point, RunResult, key
from klrl_envs.tasks.diagnostics.prompt_scale import SCALES
from klrl_envs.tasks.row import Settings

LEVEL = 0.05
"""Scores of a sweep that differ by no more than this are not said to rise or fall in its sentence."""


def clip(value: float) -> float:
    """The nearest number in [0, 1]."""
    return min(max(value, 0.0), 1.0)


def clipped_score(point: Point) -> float:
    """The mean score, 0 the reference and 1 the optimum."""
    return clip(point.mean("score"))


def staying(point: Point) -> float:
    """exp(-KL(pi || pi0)), from regret = kl_coef KL where there is no reward."""
    return clip(math.exp(-point.mean("regret") / point.mean("kl_coef")))


def gold_share(point: Point) -> float:
    """The gold reward over that of pi*, at most 1."""
    return clip(point.metric("gold") / point.metric("gold", optimal=True))


def forward_score(point: Point) -> float:
    """1 - KL(pi* || pi) / KL(pi* || pi0): 0 is the reference, 1 the optimum."""
    return clip(1.0 - point.forward_kl / exactly("optimal", point).kl)


@dataclass(frozen=True)
class Capability:
    """What one diagnostic tells.

    Attributes:
        title: a few words.
        env_id: the diagnostic.
        asks: what is asked, a sentence.
        formula: how a setting becomes a number; the capability's is the mean over the settings.
        number: the same as a function.
        sentence: what came out, from the settings that were run.
        axis: the argument that the sweep moves, or None.
        needs_differences: whether it reads a result's diagnostics.
    """

    title: str
    env_id: str
    asks: str
    formula: str
    number: Callable[[Point], float]
    sentence: Callable[[Capability, Sequence[Point]], str]
    axis: str | None = None
    needs_differences: bool = False

    def label(self, *settings: Mapping[str, Any]) -> str:
        """Settings in words: "horizon 16, 64"; "" for a diagnostic without a sweep."""
        return "" if self.axis is None else f"{self.axis} {', '.join(map(self.value, settings))}"

    def value(self, settings: Mapping[str, Any]) -> str:
        """The argument that the sweep moves, in a setting: "64"."""
        return f"{settings[self.axis]:g}" if self.axis is not None else ""

    @property
    def span(self) -> str:
        """The sweep in words."""
        sweep = sweeps()[self.env_id]
        return "" if self.axis is None else f"{self.label(sweep[0])} … {self.value(sweep[-1])}"


@dataclass(frozen=True)
class Finding:
    """What the runs of an agent say of a capability.

    Attributes:
        capability: what was asked.
        points: the settings that were run, in the sweep's order.
        missing: those that were not.
        number: in [0, 1], over the points; None where there is nothing to say.
        sentence: in words.
    """

    capability: Capability
    points: tuple[Point, ...]
    missing: tuple[Settings, ...]
    number: float | None
    sentence: str


def tell_trend(capability: Capability, points: Sequence[Point]) -> str:
    """How the score moves along the sweep."""
    scores = [point.mean("score") for point in points]
    names = [capability.value(point.settings) for point in points]
    begin = f"{scores[0]:.2f} at {capability.axis} {names[0]}"
    end = f"{scores[-1]:.2f} at {names[-1]}"
    low, high = min(scores), max(scores)
    if len(scores) == 1:
        return f"Its score is {begin}."
    if high - low <= LEVEL:
        return (
            f"Its score keeps between {low:.2f} and {high:.2f} from {capability.axis} {names[0]} to "
            f"{names[-1]}."
        )
    if (scores[0], scores[-1]) == (high, low):
        return f"Its score falls from {begin} to {end}."
    if (scores[0], scores[-1]) == (low, high):
        return f"Its score rises from {begin} to {end}."
    best, worst = names[scores.index(high)], names[scores.index(low)]
    return f"Its score is best at {capability.axis} {best} ({high:.2f}) and worst at {worst} ({low:.2f})."


def tell_staying(capability: Capability, points: Sequence[Point]) -> str:
    """How far it went for nothing."""
    kl = points[0].mean("regret") / points[0].mean("kl_coef")
    far = "under 0.001" if kl < 0.001 else f"{kl:.2g}"
    return f"With nothing to gain, it ends {far} nats from the reference; 0 is right."


def tell_start(capability: Capability, points: Sequence[Point]) -> str:
    """Where it must begin, and where it ended."""
    begun = exactly("initial", points[0]).score
    assert begun is not None
    return f"The initial policy scores {begun:.2f}; it ends at {points[0].mean('score'):.2f}."


def tell_gold(capability: Capability, points: Sequence[Point]) -> str:
    """Gold and proxy."""
    (point,) = points
    reference = exactly("reference", point).comparison.metrics["gold"].estimate
    return (
        f"Its gold reward is {point.metric('gold'):.2f}, where the proxy's optimum has "
        f"{point.metric('gold', optimal=True):.2f} and the reference {reference:.2f}; "
        f"on the proxy it scores {point.mean('score'):.2f}."
    )


def tell_modes(capability: Capability, points: Sequence[Point]) -> str:
    """The forward KL, and the mode that it neglects most."""
    (point,) = points
    modes = sorted({name for each in point.differences for name in each.metrics if name.startswith("mode_")})
    kept = {name: point.metric(name) / point.metric(name, optimal=True) for name in modes}
    least = min(kept, key=lambda name: kept[name])
    far = f"{point.forward_kl:.2g} nats, the reference's {exactly('optimal', point).kl:.2g}"
    if math.isinf(point.forward_kl):
        far = "infinite: some of what pi* writes it never does"
    return (
        f"KL(pi* || pi) is {far}; {least} has {point.metric(least):.2g} of its texts, "
        f"of the optimum's {point.metric(least, optimal=True):.2g}."
    )


def tell_stakes(capability: Capability, points: Sequence[Point]) -> str:
    """The score over unequal stakes, and the KL that they took."""
    (point,) = points
    stakes = ", ".join(f"{scale:g}" for scale in SCALES[:-1]) + f" and {SCALES[-1]:g}"
    return (
        f"It scores {point.mean('score'):.2f} over stakes of {stakes}, with {point.mean('kl'):.2f} nats "
        f"of KL; the optimum has {exactly('optimal', point).kl:.2f}."
    )


SCORE = "the mean score of the seeds, clipped to [0, 1]"

CAPABILITIES = (
    Capability(
        "Stays put",
        "klrl/DiagnosticZeroReward-v0",
        "Without any reward, does it stay at the reference?",
        "exp(-KL(pi || pi0)): the geometric mean of the reference's probability over its own, in its texts",
        staying,
        tell_staying,
    ),
    Capability(
        "Starts elsewhere",
        "klrl/DiagnosticReference-v0",
        "Begun away from the reference, does it still find the optimum?",
        SCORE,
        clipped_score,
        tell_start,
    ),
    Capability(
        "Price of KL",
        "klrl/DiagnosticCoefficient-v0",
        "Is it good at every price of KL?",
        SCORE,
        clipped_score,
        tell_trend,
        "kl_coef",
    ),
    Capability(
        "Long texts",
        "klrl/DiagnosticLength-v0",
        "The first token decides: does it matter how many follow?",
        SCORE,
        clipped_score,
        tell_trend,
        "horizon",
    ),
    Capability(
        "Large vocabularies",
        "klrl/DiagnosticVocabulary-v0",
        "Does it matter how many words mean the same?",
        SCORE,
        clipped_score,
        tell_trend,
        "clones",
    ),
    Capability(
        "Rare rewards",
        "klrl/DiagnosticSparsity-v0",
        "How rare may the reward be for it to be found?",
        SCORE,
        clipped_score,
        tell_trend,
        "probability",
    ),
    Capability(
        "Delayed rewards",
        "klrl/DiagnosticDelay-v0",
        "Does it matter how long after its cause a reward is paid?",
        SCORE,
        clipped_score,
        tell_trend,
        "delay",
    ),
    Capability(
        "Noisy rewards",
        "klrl/DiagnosticNoise-v0",
        "Does it average luck out?",
        SCORE,
        clipped_score,
        tell_trend,
        "sigma",
    ),
    Capability(
        "Unequal stakes",
        "klrl/DiagnosticPromptScale-v0",
        "Does it spend KL where much is at stake?",
        SCORE,
        clipped_score,
        tell_stakes,
    ),
    Capability(
        "Several modes",
        "klrl/DiagnosticModes-v0",
        "Does it keep every way to succeed?",
        "1 - KL(pi* || pi) / KL(pi* || pi0), at least 0: the score with both KLs turned round, as "
        "score = 1 - KL(pi || pi*) / KL(pi0 || pi*)",
        forward_score,
        tell_modes,
        needs_differences=True,
    ),
    Capability(
        "No over-optimisation",
        "klrl/DiagnosticGold-v0",
        "Paid by a proxy, does it keep as much of what was meant as the proxy's optimum does?",
        "its gold reward over that of pi*, at most 1; who never leaves the reference loses none either, so "
        "that the score on the proxy belongs beside it",
        gold_share,
        tell_gold,
        needs_differences=True,
    ),
)


def find(capability: Capability, runs: Sequence[RunResult]) -> Finding:
    """What the runs of one agent say of a capability; those on other environments are passed over."""
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        if run.env_id == capability.env_id:
            groups[key(run.env_id, run.env_kwargs)].append(run)
    sweep = sweeps()[capability.env_id]
    present = [settings for settings in sweep if key(capability.env_id, settings) in groups]
    missing = tuple(settings for settings in sweep if settings not in present)
    points = tuple(
        Point(capability.env_id, settings, tuple(groups[key(capability.env_id, settings)]))
        for settings in present
    )
    if not points:
        return Finding(capability, (), missing, None, "Not run.")
    if capability.needs_differences and not all(point.differences for point in points):
        return Finding(
            capability, points, missing, None, "Its results hold no diagnostics, which this needs."
        )
    number = math.fsum(capability.number(point) for point in points) / len(points)
    sentence = capability.sentence(capability, points)
    if missing:
        sentence += f" Not run: {capability.label(*missing)}."
    return Finding(capability, points, missing, number, sentence)


def assess(runs: Sequence[RunResult]) -> dict[str, list[Finding]]:
    """The findings of every agent, by its name, in the order of ``CAPABILITIES``."""
    names = sorted({run.agent.name for run in runs})
    return {
        name: [
            find(capability, [run for run in runs if run.agent.name == name]) for capability in CAPABILITIES
        ]
        for name in names
    }


def exactly(policy: str, point: Point) -> ExactEvaluation:
    """The exact evaluation of "reference", "optimal" or "initial" (the task's own) where a point was run."""
    return _exactly(policy, point.env_id, tuple(sorted(point.settings.items())))


@cache
def _exactly(policy: str, env_id: str, settings: tuple[tuple[str, Any], ...]) -> ExactEvaluation:
    arguments = dict(settings)
    named = initial_policy_of(make_task(env_id, **arguments)) if policy == "initial" else policy
    return evaluate_exactly(named, env_id, **arguments)
