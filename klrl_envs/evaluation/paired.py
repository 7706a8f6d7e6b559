"""Two policies on the same task with the same draws: what one has more than the other, with its interval."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np

from klrl_envs import ledger
from klrl_envs.evaluation.comparison import exact_interval
from klrl_envs.evaluation.estimators import Interval, stratified_mean, student
from klrl_envs.evaluation.evaluate import Evaluated, evaluated, rounded_up
from klrl_envs.evaluation.result import Evaluation, finite
from klrl_envs.optima.optimum import Optimum, optimum_of
from klrl_envs.policies import PolicyName, PolicyObject
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.tasks.base import Task


@dataclass(frozen=True)
class Shown:
    """A policy, and whether it reads the observations of the features id."""

    policy: PolicyObject | PolicyName
    features: bool = False


@dataclass(frozen=True)
class Paired:
    """The second policy's numbers less the first one's, each with its 95 % interval.

    Attributes:
        first, second: the evaluations.
        objective, expected_reward: in units of reward.
        kl: nats an episode.
        score: None where J* = J(pi0).
    """

    first: Evaluation
    second: Evaluation
    objective: Interval
    expected_reward: Interval
    kl: Interval
    score: Interval | None

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


@ledger.counting_as("evaluation")
def compare_policies(first: Shown, second: Shown, task: Task, *, episodes: int, seed: int) -> Paired:
    """Evaluate two policies on the same prompts with the same random numbers.

    Episode by episode they share prompt and start, and policies that are one write the same.

    Args:
        first, second: the policies.
        task: with its evaluation prompts.
        episodes: of each; rounded up to a multiple of the prompts.
        seed: of both.
    """
    episodes = rounded_up(episodes, len(task.prompts.tokens))
    one, two = (
        evaluated(each.policy, task, episodes, (seed, False), features=each.features)
        for each in (first, second)
    )
    objective, reward, kl = (
        difference(one, two, name, task) for name in ("objective", "expected_reward", "kl")
    )
    return Paired(
        one.evaluation, two.evaluation, objective, reward, kl, in_scores(objective, optimum_of(task))
    )


def difference(one: Evaluated, two: Evaluated, name: str, task: Task) -> Interval:
    """What the second has more of a number than the first: exact, episode by episode, or, where rare events
    leave the spread of episodes unknown, from the intervals of both."""
    first, second = (getattr(each.evaluation, name) for each in (one, two))
    if one.evaluation.exact and two.evaluation.exact:
        return exact_interval(second.estimate - first.estimate)
    if not (one.estimates.resolved and two.estimates.resolved):
        return Interval(
            second.estimate - first.estimate, second.lower - first.upper, second.upper - first.lower
        )
    both = one.sampled.other_kl is not None and two.sampled.other_kl is not None
    values = (of_episodes(each, name, task, from_optimum=both) for each in (one, two))
    return stratified_mean(-np.subtract(*values), one.sampled.prompt).interval()


def of_episodes(each: Evaluated, name: str, task: Task, *, from_optimum: bool) -> FloatArray:
    """What each episode says of a number, float64[E]; of the objective less J* where both policies have
    their KL to pi*, which says more."""
    if name == "expected_reward":
        return each.estimates.reward
    if name == "kl":
        return each.estimates.kl
    if from_optimum and each.sampled.other_kl is not None:
        return -task.kl_coef * each.sampled.other_kl
    return each.estimates.reward - task.kl_coef * each.estimates.kl


def in_scores(objective: Interval, best: Optimum) -> Interval | None:
    """A difference of objectives as one of scores, with the errors of J* and J(pi0); None without a gap."""
    gap = best.gap
    if gap is None:
        return None
    difference = objective.estimate / gap
    # both errors at their worst: they may move the gap the same way
    shared = student(math.inf) * abs(difference) * (best.value_stderr + best.reference_value_stderr) / gap
    return Interval(
        difference,
        difference - math.hypot((objective.estimate - objective.lower) / gap, shared),
        difference + math.hypot((objective.upper - objective.estimate) / gap, shared),
    )
