"""``evaluate``: J(pi) with its interval, and the score against the optimum."""

from __future__ import annotations

import time
from typing import Any

from klrl_envs import ledger
from klrl_envs.envs.lookup import EnvOrId, evaluation_task, shows_features
from klrl_envs.evaluation.assess import assess
from klrl_envs.evaluation.comparison import compare
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.result import Evaluation as Evaluation
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.evaluation.seeds import fresh_seed
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.optimum import Optimum, optimum_of
from klrl_envs.policies import OptimalPolicy, Policy, as_policy
from klrl_envs.tasks.base import Task


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
        TypeError: not a policy, or not an environment of this package.
        NotCertified: a neural task without a certificate for these arguments.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    if "kl_coef" in kwargs:
        check_kl_coef(kwargs["kl_coef"])
    task = evaluation_task(env_or_id, kwargs)
    best = optimum_of(task)
    policy = as_policy(policy)
    fresh = seed is None
    seed = fresh_seed() if seed is None else seed
    if policy == "optimal":
        policy = optimal_policy(task, best)
    solution = None if best.policy is None else OptimalPolicy(best.policy)
    features = shows_features(env_or_id, task)
    count = len(task.prompts.tokens)
    episodes = max(2, -(-episodes // count)) * count
    began = time.perf_counter()
    sampled = roll_out(
        policy, task.without_noise(), episodes=episodes, seed=seed, features=features, other=solution
    )
    seconds = time.perf_counter() - began
    found = None
    if task.exact is not None:
        found = compare(policy, task.exact, best, sampled, seed=seed, features=features)
    return assess(sampled, task, best, seconds=seconds, seed=seed, fresh=fresh, comparison=found)


def optimal_policy(task: Task, best: Optimum) -> OptimalPolicy | RejectionSampler:
    """pi* as a policy: the solution's rows, or rejection where pi* has no rows."""
    if best.policy is not None:
        return OptimalPolicy(best.policy)
    assert best.log_partition is not None
    return RejectionSampler(task, best.log_partition)
