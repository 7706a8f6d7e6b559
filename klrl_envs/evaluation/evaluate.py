"""``evaluate``: J(pi) with its interval, and the score against the optimum.

Estimators from one episode. r is its reward, l_t the log-ratio of the token taken, KL_t the exact KL of the
whole vocabulary at the state, beta = kl_coef, and sums run over the episode's tokens:

    A = r - beta sum l_t      zero variance at pi*
    B = r - beta sum KL_t     often better far from pi*
    M = sum (l_t - KL_t)      mean zero, so that B - c M is unbiased for any c chosen on other episodes

A is for policies that have no rows, B - c M for all others. On exact environments the regret is
beta sum KL(pi(.|s_t) || pi*(.|s_t)): unbiased, never negative, zero variance at pi*. Sources: the chain rule
of KL and, for the regret, the soft performance difference (Todorov 2006; Levine 2018, arXiv 1805.00909).
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Any, cast

from klrl_envs.envs.lookup import EnvOrId, evaluation_task, shows_features
from klrl_envs.evaluation.comparison import Comparison, compare, warn_of_old_name
from klrl_envs.evaluation.estimators import FOLDS, Interval, Mean, stratified_mean, with_control
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.rollout import Episodes, roll_out
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.optimum import Optimum, optimum_of
from klrl_envs.policies import LogProbKind, OptimalPolicy, Policy, as_policy
from klrl_envs.tasks.base import Task

FROM_SAMPLES = "reward less kl_coef times the log-ratio of the text"
FROM_ROWS = f"reward less the exact KL, with a control variate fitted on the other episodes in {FOLDS} folds"
FROM_OPTIMUM = "regret, objective and score from the exact KL to the optimal policy at every state"

BOUND_OF: dict[LogProbKind, LogProbKind] = {"exact": "exact", "upper": "lower", "lower": "upper"}
"""What the objective is, by what the policy's log-probs are: KL counts against it."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth on an environment.

    Attributes:
        env_id: with its namespace, or "exact_task".
        kl_coef: in units of reward per nat.
        objective: J(pi) = E[r] - kl_coef KL(pi || pi0). On exact environments it is J* - regret.
        expected_reward: E[r].
        kl: KL(pi || pi0), nats per episode.
        score: (J - J0) / (J* - J0), where J0 is the reference's and J* the optimum's objective; at most 1
            but for noise, unbounded below; None where J* = J0. The interval holds three errors: that of the
            agent's episodes (their variance within prompts), that of J0 and that of J*.
        regret: J* - J(pi) = kl_coef KL(pi || pi*).
        optimum: J* with its interval.
        reference_value: J0.
        bound: "exact", or "lower" / "upper" where the policy knows only a bound of its log-probs, so
            that objective and score are bounds too.
        method: the estimators that were used, in words.
        metrics: means of the task's metrics.
        episodes, prompts, tokens: episodes sampled, the prompts that they share equally, tokens written.
        seconds: of sampling.
        seed: of sampling.
        task_sha256: fingerprint of all that moves J* but kl_coef.
        comparison: how the policy differs from pi*, on exact environments; else None.
    """

    env_id: str
    kl_coef: float
    objective: Interval
    expected_reward: Interval
    kl: Interval
    score: Interval | None
    regret: Interval
    optimum: Interval
    reference_value: float
    bound: LogProbKind
    method: str
    metrics: dict[str, float]
    episodes: int
    prompts: int
    tokens: int
    seconds: float
    seed: int
    task_sha256: str
    comparison: Comparison | None = None

    @property
    def score_estimate(self) -> float | None:
        """The score without its interval; None where there is none."""
        return None if self.score is None else self.score.estimate

    @property
    def diagnostics(self) -> Comparison | None:
        """The old name of ``comparison``; warns DeprecationWarning."""
        warn_of_old_name()
        return self.comparison

    def to_json(self) -> str:
        """All of it as a JSON object; an interval is {"estimate", "lower", "upper"}, nulls where infinite."""
        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


def evaluate(
    policy: Policy,
    env_or_id: EnvOrId,
    *,
    episodes: int = 1024,
    seed: int = 0,
    **kwargs: Any,
) -> Evaluation:
    """Estimate J(pi) on the evaluation prompts and score it against the optimum.

    Args:
        policy: an object with ``log_probs``, ``state_log_probs`` or ``sample``, a function from observations
            [B, ...] to log-probs [B, V], or "reference", "uniform" or "optimal"; see ``klrl_envs.policies``.
        env_or_id: an id, or an environment of this package (its wrappers are ignored: they change what
            is observed or paid in training, not the task). On a features id the policy is shown features.
        episodes: rounded up to a multiple of the number of evaluation prompts, at least two per prompt.
        seed: the result is a function of it.
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
    return assess(sampled, task, best, seconds=seconds, seed=seed, comparison=found)


def optimal_policy(task: Task, best: Optimum) -> OptimalPolicy | RejectionSampler:
    """pi* as a policy: the solution's rows, or rejection where pi* has no rows."""
    if best.policy is not None:
        return OptimalPolicy(best.policy)
    assert best.log_partition is not None
    return RejectionSampler(task, best.log_partition)


def assess(
    sampled: Episodes,
    task: Task,
    best: Optimum,
    *,
    seconds: float = 0.0,
    seed: int = 0,
    comparison: Comparison | None = None,
) -> Evaluation:
    """Turn episodes into an ``Evaluation``: a pure function of what was sampled."""
    beta = task.kl_coef
    strata = sampled.prompt
    if sampled.kl is None:
        reward, kl, method = sampled.reward, sampled.log_ratio, FROM_SAMPLES
    else:
        control = sampled.log_ratio - sampled.kl
        reward = with_control(sampled.reward, control, strata)
        kl = with_control(sampled.kl, control, strata)
        method = FROM_ROWS
    objective = stratified_mean(reward - beta * kl, strata)
    if sampled.other_kl is None:
        regret = Mean(best.value - objective.value, objective.error, objective.degrees_of_freedom)
    else:
        regret = stratified_mean(beta * sampled.other_kl, strata)
        objective = Mean(best.value - regret.value, regret.error, regret.degrees_of_freedom)
        method += f"; {FROM_OPTIMUM}"
    return Evaluation(
        env_id=best.env_id,
        kl_coef=beta,
        objective=objective.interval(),
        expected_reward=stratified_mean(reward, strata).interval(),
        kl=stratified_mean(kl, strata).interval(),
        score=score_interval(regret, best),
        regret=regret.plus(best.value_stderr).interval(),
        optimum=Interval(best.value, best.lower, best.upper),
        reference_value=best.reference_value,
        bound=BOUND_OF[sampled.kind],
        method=method,
        metrics={name: float(values.mean()) for name, values in sampled.metrics.items()},
        episodes=len(strata),
        prompts=len(task.prompts.tokens),
        tokens=int(sampled.length.sum()),
        seconds=seconds,
        seed=seed,
        task_sha256=task.fingerprint,
        comparison=comparison,
    )


def finite(value: Any) -> Any:
    """The same nested dicts with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in cast(dict[str, Any], value).items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_interval(regret: Mean, best: Optimum) -> Interval | None:
    """The score 1 - (J* - J) / (J* - J0) with the delta method's interval.

    With G = J* - J0 and s the score, an error in it is dJ / G + (s - 1) dJ0 / G - s dJ* / G. J0 and J* come
    from the same samples with a correlation between 0 and 1 (the weights rise with the reward). The worse of
    these two is assumed, so the interval errs to the wide side.

    Args:
        regret: J* - J(pi) with the error of J(pi) alone.
        best: the optimum, with the errors of J* and J0.
    """
    gap = best.gap
    if gap is None:
        return None
    score = 1.0 - regret.value / gap
    reference = (1 - score) * best.reference_value_stderr
    own = score * best.value_stderr
    shared = reference * reference + own * own + 2 * max(reference * own, 0.0)
    error = math.sqrt(regret.error**2 + shared) / gap
    return Mean(score, error, regret.degrees_of_freedom).interval()
