"""``evaluate``: J(pi) with its interval, and the score against the optimum.

Estimators of an episode (r its reward, l_t the log-ratio of the token taken, KL_t the exact KL of the
whole vocabulary at the state, beta = kl_coef):

    A = r - beta S l_t        zero variance at pi*
    B = r - beta S KL_t       often better far from it
    M = S (l_t - KL_t)        mean zero, so that B - c M is unbiased for any c chosen on other episodes

and on exact environments regret = beta S KL(pi(.|s_t) || pi*(.|s_t)): unbiased, never negative, zero
variance at pi*. Sources: the chain rule of KL and, for the regret, the soft performance difference
(Todorov 2006; Levine 2018, arXiv 1805.00909).
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from klrl_envs.envs.lookup import EnvOrId, evaluation_task, shows_features
from klrl_envs.evaluation.comparison import Comparison, diagnose
from klrl_envs.evaluation.estimators import FOLDS, Interval, Mean, stratified_mean, with_control
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.rollout import Episodes, roll_out
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.optimum import Optimum, optimum
from klrl_envs.policies import OptimalPolicy, as_policy
from klrl_envs.tasks.base import Task

NORMAL_95 = 1.959963984540054
"""The normal quantile that an ``Optimum``'s own 95 % interval was made with."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth on an environment.

    Attributes:
        env_id: with its namespace, or "exact_task".
        kl_coef: reward units a nat.
        objective: J(pi) = E[r] - kl_coef KL(pi || pi0). On exact environments it is J* - regret.
        expected_reward: E[r].
        kl: KL(pi || pi0), nats, an episode.
        score: (J - J0) / (J* - J0), where J0 is the reference's and J* the optimum's objective; at most 1
            but for noise, unbounded below; None where J* = J0. The interval holds three errors: the
            agent's episodes (their variance within prompts), J0's and J*'s.
        regret: J* - J(pi) = kl_coef KL(pi || pi*).
        optimum: J* with its interval.
        reference_value: J0.
        bound: "exact", or "lower" / "upper" where the policy knows only a bound of its log-probs, so
            that objective and score are bounds too.
        method: the estimators that were used.
        metrics: means of the task's metrics.
        episodes, prompts, tokens: episodes sampled, the prompts that they share equally, tokens written.
        seconds: of sampling.
        seed: of sampling.
        task_sha256: fingerprint of all that moves J* but kl_coef.
        diagnostics: how the policy differs from pi*, on exact environments; else None.
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
    bound: Literal["exact", "lower", "upper"]
    method: str
    metrics: dict[str, float]
    episodes: int
    prompts: int
    tokens: int
    seconds: float
    seed: int
    task_sha256: str
    diagnostics: Comparison | None = None

    @property
    def score_estimate(self) -> float | None:
        """The score without its interval, None where there is none."""
        return None if self.score is None else self.score.estimate

    def to_json(self) -> str:
        """All of it as a JSON object; an interval is {"estimate", "lower", "upper"}, nulls where infinite."""
        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


def evaluate(
    policy: Any,
    env_or_id: EnvOrId,
    *,
    episodes: int = 1024,
    seed: int = 0,
    **kwargs: Any,
) -> Evaluation:
    """Estimate J(pi) on the evaluation prompts and score it against the optimum.

    Args:
        policy: see ``klrl_envs.policies``: an object with ``log_probs``, ``state_log_probs`` or ``sample``,
            or "reference", "uniform" or "optimal".
        env_or_id: an id, or an environment of this package (its wrappers are ignored: they change what
            is observed or paid in training, not the task). On a features id the policy is shown features.
        episodes: rounded up to a multiple of the number of evaluation prompts, two a prompt at least.
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
    best = optimum(env_or_id, **kwargs)
    policy = (
        optimal_policy(task, best) if isinstance(policy, str) and policy == "optimal" else as_policy(policy)
    )
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
        found = diagnose(policy, task.exact, best, sampled, seed=seed, features=features)
    return assess(sampled, task, best, seconds=seconds, seed=seed, diagnostics=found)


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
    diagnostics: Comparison | None = None,
) -> Evaluation:
    """Turn episodes into an ``Evaluation``: a pure function of what was sampled."""
    beta = task.kl_coef
    strata = sampled.prompt
    if sampled.kl is None:
        reward, kl, method = sampled.reward, sampled.log_ratio, "A"
    else:
        control = sampled.log_ratio - sampled.kl
        reward = with_control(sampled.reward, control, strata)
        kl = with_control(sampled.kl, control, strata)
        method = f"B - c M, c from the other episodes in {FOLDS} folds"
    objective = stratified_mean(reward - beta * kl, strata)
    optimum_error = 0.0 if best.exact else (best.upper - best.lower) / (2 * NORMAL_95)
    if sampled.other_kl is None:
        loss = Mean(best.value - objective.value, objective.error, objective.freedom)
        regret = loss.plus(optimum_error).interval()
    else:
        loss = stratified_mean(beta * sampled.other_kl, strata)
        objective = Mean(best.value - loss.value, loss.error, loss.freedom)
        regret = loss.interval()
        method += "; regret from KL(pi || pi*) at every state, and with it objective and score"
    tokens = int(sampled.length.sum())
    kinds: dict[str, Literal["exact", "lower", "upper"]] = {
        "exact": "exact",
        "upper": "lower",
        "lower": "upper",
    }
    return Evaluation(
        env_id=best.env_id,
        kl_coef=beta,
        objective=objective.interval(),
        expected_reward=stratified_mean(reward, strata).interval(),
        kl=stratified_mean(kl, strata).interval(),
        score=score_interval(loss, best, optimum_error),
        regret=regret,
        optimum=Interval(best.value, best.lower, best.upper),
        reference_value=best.reference_value,
        bound=kinds[sampled.kind],
        method=method,
        metrics={name: float(values.mean()) for name, values in sampled.metrics.items()},
        episodes=len(strata),
        prompts=len(task.prompts.tokens),
        tokens=tokens,
        seconds=seconds,
        seed=seed,
        task_sha256=task.fingerprint,
        diagnostics=diagnostics,
    )


def finite(value: Any) -> Any:
    """The same nested dicts with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in cast(dict[str, Any], value).items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_interval(loss: Mean, best: Optimum, optimum_error: float) -> Interval | None:
    """The score 1 - (J* - J) / (J* - J0) with the delta method's interval.

    With G = J* - J0 and s the score: dJ / G + (s - 1) dJ0 / G - s dJ* / G. J0 and J* come from the same
    samples with a correlation of 0 to 1 (the weights rise with the reward), so their joint share is
    bounded by the worse of the two: the interval errs to the wide side.

    Args:
        loss: J* - J(pi) with the error of J(pi) alone.
        best: the optimum.
        optimum_error: standard error of J*.
    """
    gap = best.gap
    if gap is None:
        return None
    score = 1.0 - loss.value / gap
    reference = (1 - score) * best.reference_value_stderr
    own = score * optimum_error
    shared = reference * reference + own * own + 2 * max(reference * own, 0.0)
    error = math.sqrt(loss.error**2 + shared) / gap
    return Mean(score, error, loss.freedom).interval()
