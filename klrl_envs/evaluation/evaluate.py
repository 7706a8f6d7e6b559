"""``evaluate``: J(pi) with its interval, and the score against the optimum."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.lookup import EnvOrId, evaluation_task, shows_features
from klrl_envs.evaluation.assess import (
    Estimates,
    check,
    estimates_of,
    kl_interval,
    regret_interval,
    reward_interval,
    score_interval,
)
from klrl_envs.evaluation.comparison import compare, exact_interval
from klrl_envs.evaluation.estimators import Interval, student
from klrl_envs.evaluation.impossible import refuse_foreknowledge, refuse_negative_kl
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.result import Evaluation, StandardErrors
from klrl_envs.evaluation.rollout import Episodes, roll_out
from klrl_envs.evaluation.seeds import fresh_seed
from klrl_envs.evaluation.truth import Truth, check_truth, known, truth_of
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.optimum import Optimum, optimum_of
from klrl_envs.policies import LogProbKind, OptimalPolicy, Policy, PolicyName, PolicyObject, as_policy
from klrl_envs.tasks.base import Task

BOUND_OF: dict[LogProbKind, LogProbKind] = {"exact": "exact", "upper": "lower", "lower": "upper"}
"""What the objective is, by what the policy's log-probs are: KL counts against it."""
OVER_ALL_STATES = "over all states, by a forward pass, which the episodes do not contradict"


@ledger.counting_as("evaluation")
def evaluate(
    policy: Policy,
    env_or_id: EnvOrId,
    *,
    episodes: int = 1024,
    seed: int | None = None,
    **kwargs: Any,
) -> Evaluation:
    """Estimate J(pi) on the evaluation prompts and score it against the optimum.

    Args:
        policy: an object with ``log_probs``, ``state_log_probs`` or ``sample``, a function from observations
            [B, ...] to log-probs [B, V], or "reference", "uniform" or "optimal"; see ``klrl_envs.policies``.
        env_or_id: an id, or an environment of this package (its wrappers are ignored: they change what
            is observed or paid in training, not the task). On a features id the policy is shown features.
        episodes: rounded up to a multiple of the number of evaluation prompts, at least two per prompt.
        seed: of what is sampled, a stream apart from any training's with the same seed. By default it is
            drawn here, when the policy is fixed, so that no policy can know the draw; the result names it,
            and is the same when it is given.
        **kwargs: the environment's arguments, with an id (kl_coef, horizon, ...).

    Returns:
        An ``Evaluation``. "optimal" on a neural task is scored with the log Z of the certificate, so that
        its score of 1 is no test; its expected reward, from new samples, is.

    Raises:
        ValueError: kl_coef is not above 0, episodes below 1, or a policy whose rows are not distributions.
        ImpossibleEvaluation: what no policy can do; a ValueError, too.
        TypeError: not a policy, or not an environment of this package.
        NotCertified: a neural task without a certificate for these arguments.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if "kl_coef" in kwargs:
        check_kl_coef(kwargs["kl_coef"])
    task = evaluation_task(env_or_id, kwargs)
    draw = (fresh_seed(), True) if seed is None else (seed, False)
    return evaluate_task(as_policy(policy), task, episodes, draw, features=shows_features(env_or_id, task))


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and the episodes and estimates that it was made of."""

    evaluation: Evaluation
    sampled: Episodes
    estimates: Estimates


def evaluate_task(
    policy: PolicyObject | PolicyName, task: Task, episodes: int, draw: tuple[int, bool], *, features: bool
) -> Evaluation:
    """``evaluate`` on a task with its evaluation prompts; see ``evaluated``."""
    return evaluated(policy, task, episodes, draw, features=features).evaluation


def evaluated(
    policy: PolicyObject | PolicyName, task: Task, episodes: int, draw: tuple[int, bool], *, features: bool
) -> Evaluated:
    """The evaluation of a policy on a task with its evaluation prompts, with its episodes.

    Args:
        policy: an object, or a name.
        task: what it is evaluated on.
        episodes: to be rounded up.
        draw: the seed, and whether it was drawn when the policy was there.
        features: whether the policy is shown the observations of the features id.
    """
    best = optimum_of(task)
    ideal = (isinstance(policy, str) and policy == "optimal") or is_optimal(policy, best)
    if ideal:
        policy = optimal_policy(task, best)  # one that was handed over may answer something else
    solution = None if best.policy is None else OptimalPolicy(best.policy)
    episodes, seed = rounded_up(episodes, len(task.prompts.tokens)), draw[0]
    began = time.perf_counter()
    sampled = roll_out(
        policy, task.without_noise(), episodes=episodes, seed=seed, features=features, other=solution
    )
    seconds = time.perf_counter() - began
    refuse_foreknowledge(sampled)
    refuse_negative_kl(sampled)
    estimates = estimates_of(sampled, task, best)
    check(estimates, sampled, task, best)
    found, truth = None, known("optimal" if ideal else policy, best)
    if task.exact is not None:
        found, own = compare(policy, task.exact, best, sampled, seed=seed, features=features)
        truth = truth_of(own, task.kl_coef) if truth is None and own is not None else truth
    if truth is not None:
        check_truth(truth, estimates, sampled, task, best)
    evaluation = Evaluation(
        env_id=best.env_id,
        kl_coef=task.kl_coef,
        **(sampled_numbers(estimates, sampled, task, best) if truth is None else exact_numbers(truth, best)),
        optimum=Interval(best.value, best.lower, best.upper),
        reference_value=best.reference_value,
        log_probs="checked" if sampled.kl is not None or ideal else "self-reported",
        bound=BOUND_OF[sampled.kind],
        metrics={name: float(values.mean()) for name, values in sampled.metrics.items()}
        | task.summaries(sampled.prompt, sampled.reward, sampled.metrics),
        episodes=episodes,
        prompts=len(task.prompts.tokens),
        tokens=int(sampled.length.sum()),
        seconds=seconds,
        seed=seed,
        fresh=draw[1],
        task_sha256=task.fingerprint,
        comparison=found,
    )
    return Evaluated(evaluation, sampled, estimates)


def rounded_up(episodes: int, prompts: int) -> int:
    """Episodes rounded up to a multiple of the prompts, at least two for each."""
    return max(2, -(-episodes // prompts)) * prompts


def sampled_numbers(estimates: Estimates, sampled: Episodes, task: Task, best: Optimum) -> dict[str, Any]:
    """What episodes say: the fields of an ``Evaluation`` that are estimated."""
    reward, kl = reward_interval(estimates, task), kl_interval(estimates, sampled, task)
    regret = regret_interval(estimates, best, reward, kl)
    of_optimum = student(math.inf) * best.value_stderr
    return {
        "objective": Interval(
            estimates.objective.value, best.value - regret.upper, best.value - regret.lower
        ),
        "expected_reward": reward,
        "kl": kl,
        "score": score_interval(regret, best),
        "regret": Interval(
            regret.estimate,
            regret.estimate - math.hypot(regret.estimate - regret.lower, of_optimum),
            regret.estimate + math.hypot(regret.upper - regret.estimate, of_optimum),
        ),
        "errors": StandardErrors(
            objective=estimates.objective.error,
            expected_reward=estimates.expected_reward_mean.error,
            kl=estimates.kl_mean.error,
            regret=estimates.regret.error,
            difference=estimates.difference.error,
        ),
        "exact": False,
        "tail": "resolved" if estimates.resolved else "unresolved",
        "method": estimates.method,
    }


def exact_numbers(truth: Truth, best: Optimum) -> dict[str, Any]:
    """What was computed over all states: the same fields, without error."""
    regret = exact_interval(truth.regret)
    return {
        "objective": exact_interval(truth.objective),
        "expected_reward": exact_interval(truth.expected_reward),
        "kl": exact_interval(truth.kl),
        "score": score_interval(regret, best),
        "regret": regret,
        "errors": StandardErrors(0.0, 0.0, 0.0, 0.0, 0.0),
        "exact": True,
        "tail": "resolved",
        "method": OVER_ALL_STATES,
    }


def is_optimal(policy: object, best: Optimum) -> bool:
    """Whether a policy says that it is pi*: the optimum's own solution, or rejection by its own log Z."""
    if type(policy) is OptimalPolicy:
        return policy.solution is best.policy
    if type(policy) is not RejectionSampler or best.certificate is None or best.log_partition is None:
        return False
    own_bounds = policy.highest is None or np.array_equal(policy.highest, best.certificate.highest)
    return own_bounds and np.array_equal(policy.log_partition, best.log_partition)


def optimal_policy(task: Task, best: Optimum) -> OptimalPolicy | RejectionSampler:
    """pi* as a policy: the solution's rows, or rejection where pi* has no rows."""
    if best.policy is not None:
        return OptimalPolicy(best.policy)
    assert best.certificate is not None and best.log_partition is not None
    return RejectionSampler(task, best.log_partition, best.certificate.highest)
