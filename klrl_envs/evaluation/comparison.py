"""How a policy differs from the optimum of an exact environment, and its exact evaluation.

A score says how far a policy went; these say what it lacks. Of two policies with one score, the one with
a large KL(pi* || pi) has dropped texts that the optimum writes, the one with a small entropy has collapsed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from klrl_envs.envs.lookup import EnvOrId, evaluation_task, shows_features
from klrl_envs.envs.observation import AutomatonFeatures, StateObserver, observer_of
from klrl_envs.evaluation.estimators import Interval, stratified_mean
from klrl_envs.evaluation.rollout import Episodes, is_sequence_policy, roll_out
from klrl_envs.optima.dynamic_programme import Solution, solve_problem
from klrl_envs.optima.forward import MarkovEvaluation, PolicyRows, evaluate_markov, final_states
from klrl_envs.optima.optimum import Optimum, optimum_of, problem_of
from klrl_envs.policies import (
    OptimalPolicy,
    Policy,
    PolicyName,
    PolicyObject,
    StatePolicy,
    TokenPolicy,
    as_policy,
)
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import require_exact

MOST_ENTRIES = 10_000_000
"""States times tokens up to which ``evaluate`` compares exactly instead of by samples: that takes seconds."""


@dataclass(frozen=True)
class Comparison:
    """How a policy pi differs from pi*; divergences and entropies in nats, of whole texts.

    Attributes:
        exact: computed by a forward pass (the intervals are points), or sampled.
        reverse_kl: KL(pi || pi*) = regret / kl_coef: what pi writes and pi* would not.
        forward_kl: KL(pi* || pi): what pi* writes and pi does not; infinite where pi excludes some of it.
        entropy, optimal_entropy: of pi's texts, and of pi*'s.
        metrics, optimal_metrics: means of the task's metrics under pi and under pi*; among them the mass on
            each mode and the gold reward, where the task has such.
    """

    exact: bool
    reverse_kl: Interval
    forward_kl: Interval
    entropy: Interval
    optimal_entropy: Interval
    metrics: dict[str, Interval]
    optimal_metrics: dict[str, Interval]


@dataclass(frozen=True)
class ExactEvaluation:
    """What a policy is worth on an exact environment, without sampling. See ``Evaluation`` for the terms."""

    env_id: str
    kl_coef: float
    objective: float
    expected_reward: float
    kl: float
    score: float | None
    regret: float
    comparison: Comparison
    task_sha256: str

    @property
    def diagnostics(self) -> Comparison:
        """The old name of ``comparison``; warns DeprecationWarning."""
        warn_of_old_name()
        return self.comparison


def warn_of_old_name() -> None:
    """Warn whoever reads an evaluation's ``diagnostics`` that it is called ``comparison`` now."""
    warnings.warn("diagnostics is the old name of comparison", DeprecationWarning, stacklevel=3)


def evaluate_exactly(policy: Policy, env_or_id: EnvOrId, **kwargs: Any) -> ExactEvaluation:
    """Evaluate a policy that is Markov in (context, automaton state, time): no sampling, to rounding error.

    Such are policies with ``state_log_probs``, those that read a features id or a state vector, and the
    names "reference", "uniform" and "optimal". The cost is states times tokens: seconds to minutes with a
    vocabulary of thousands.

    Raises:
        TypeError: the environment is not exact, or the policy reads the text and may remember more of it.
    """
    task = require_exact(evaluation_task(env_or_id, kwargs), "evaluate_exactly")
    best = optimum_of(task)
    assert best.policy is not None
    policy = as_policy(policy)
    rows = markov_rows(policy, task, best.policy, features=shows_features(env_or_id, task))
    if rows is None:
        raise TypeError(
            "the policy reads whole texts, and may remember more of them than the state: give it "
            "state_log_probs, or evaluate it on the features id, or by sampling with klrl_envs.evaluate"
        )
    own, ideal = both_ways(rows, task, best)
    regret = task.kl_coef * own.divergences[0]
    return ExactEvaluation(
        env_id=best.env_id,
        kl_coef=task.kl_coef,
        objective=own.objective,
        expected_reward=own.expected_reward,
        kl=own.kl,
        score=None if best.gap is None else 1.0 - regret / best.gap,
        regret=regret,
        comparison=exact_comparison(own, ideal, task),
        task_sha256=task.fingerprint,
    )


def compare(
    policy: PolicyObject | PolicyName,
    task: AutomatonTask,
    best: Optimum,
    sampled: Episodes,
    *,
    seed: int,
    features: bool,
) -> tuple[Comparison | None, MarkovEvaluation | None]:
    """How a policy differs from pi*: exactly where that takes seconds, else from samples.

    Args:
        sampled: episodes of the policy, compared with pi*.
        features: whether the policy is shown the observations of the features id.

    Returns:
        The comparison, None for a policy that has no form token by token; and the policy's evaluation over
        all states, None where it was sampled.
    """
    if is_sequence_policy(policy) or best.policy is None:
        return None, None
    rows = markov_rows(policy, task, best.policy, features=features)
    problem = best.policy.problem
    entries = task.reference.contexts * task.vocab_size * sum(len(states) for states in problem.reached)
    if rows is not None and entries <= MOST_ENTRIES:
        own, best_own = both_ways(rows, task, best)
        return exact_comparison(own, best_own, task), own
    count = len(task.prompts.tokens)
    ideal = roll_out(
        OptimalPolicy(best.policy), task, episodes=max(2, len(sampled.prompt) // (4 * count)) * count,
        seed=seed, part=1, other=policy, other_features=features,
    )  # fmt: skip
    assert sampled.other_kl is not None and ideal.other_kl is not None
    assert sampled.entropy is not None and ideal.entropy is not None
    sampled_comparison = Comparison(
        exact=False,
        reverse_kl=sampled_interval(sampled.other_kl, sampled),
        forward_kl=sampled_interval(ideal.other_kl, ideal),
        entropy=sampled_interval(sampled.entropy, sampled),
        optimal_entropy=sampled_interval(ideal.entropy, ideal),
        metrics={name: sampled_interval(values, sampled) for name, values in sampled.metrics.items()},
        optimal_metrics=metric_means(final_states(problem, best.policy), task),
    )
    return sampled_comparison, None


def markov_rows(
    policy: PolicyObject | PolicyName, task: AutomatonTask, optimal: Solution, *, features: bool
) -> PolicyRows | None:
    """A policy's rows by (context, state, time), or None where it is not Markov in them."""
    name = policy if isinstance(policy, str) else None
    if name == "optimal":
        return optimal.log_probs
    if name == "uniform":
        size = task.vocab_size
        return lambda context, state, time: np.full((len(context), size), -math.log(size))
    if name == "reference":
        return lambda context, state, time: task.reference.rows(context)
    if isinstance(policy, StatePolicy):
        return policy.state_log_probs
    observer = observer_of(task, features=features)
    if isinstance(policy, TokenPolicy) and isinstance(observer, AutomatonFeatures | StateObserver):
        encode, log_probs = observer.encode, policy.log_probs
        return lambda context, state, time: log_probs(encode(context, state, time))
    return None


def both_ways(
    rows: PolicyRows, task: AutomatonTask, best: Optimum
) -> tuple[MarkovEvaluation, MarkovEvaluation]:
    """The evaluation of a policy compared with pi*, and that of pi* compared with the policy."""
    assert best.policy is not None
    solution = best.policy
    own = evaluate_markov(solution.problem, rows, kl_coef=task.kl_coef, others=[solution.log_probs])
    ideal = evaluate_markov(solution.problem, solution.log_probs, kl_coef=task.kl_coef, others=[rows])
    return own, ideal


def exact_comparison(own: MarkovEvaluation, ideal: MarkovEvaluation, task: AutomatonTask) -> Comparison:
    """Comparison from the exact evaluations of both ways."""
    return Comparison(
        exact=True,
        reverse_kl=exact_interval(own.divergences[0]),
        forward_kl=exact_interval(ideal.divergences[0]),
        entropy=exact_interval(own.entropy),
        optimal_entropy=exact_interval(ideal.entropy),
        metrics=metric_means(own.final_states, task),
        optimal_metrics=metric_means(ideal.final_states, task),
    )


def metric_means(states: FloatArray, task: AutomatonTask) -> dict[str, Interval]:
    """The exact means of a task's metrics under a law float64[Q] of the automaton's state at the end."""
    return {name: exact_interval(float(states @ values)) for name, values in task.final_metrics.items()}


def metrics_along_frontier(
    env_or_id: EnvOrId,
    kl_coefs: Iterable[float],
    **kwargs: Any,
) -> list[dict[str, float]]:
    """The exact means of a task's metrics under pi* at each of kl_coefs: so the gold reward where a proxy is
    optimised.

    Raises:
        TypeError: the environment is not exact.
        ValueError: a kl_coef that is not a finite number above 0.
    """
    task = require_exact(evaluation_task(env_or_id, kwargs), "metrics_along_frontier")
    problem = problem_of(task)
    laws = (final_states(problem, solve_problem(problem, kl_coef)) for kl_coef in kl_coefs)
    return [{name: float(law @ values) for name, values in task.final_metrics.items()} for law in laws]


def exact_interval(value: float) -> Interval:
    """An exact number as an interval of no width."""
    return Interval(value, value, value)


def sampled_interval(values: Any, episodes: Episodes) -> Interval:
    """The mean of a number of each episode, infinite where one is."""
    if not np.isfinite(values).all():
        return Interval(math.inf, math.inf, math.inf)
    return stratified_mean(values, episodes.prompt).interval()
