"""From episodes to an ``Evaluation``: pure functions of what was sampled.

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

import math

from klrl_envs.evaluation.comparison import Comparison
from klrl_envs.evaluation.estimators import FOLDS, Interval, Mean, stratified_mean, with_control
from klrl_envs.evaluation.result import Evaluation, StandardErrors
from klrl_envs.evaluation.rollout import Episodes
from klrl_envs.optima.optimum import Optimum
from klrl_envs.policies import LogProbKind
from klrl_envs.tasks.base import Task

FROM_SAMPLES = "reward less kl_coef times the log-ratio of the text"
FROM_ROWS = f"reward less the exact KL, with a control variate fitted on the other episodes in {FOLDS} folds"
FROM_OPTIMUM = "regret, objective and score from the exact KL to the optimal policy at every state"

BOUND_OF: dict[LogProbKind, LogProbKind] = {"exact": "exact", "upper": "lower", "lower": "upper"}
"""What the objective is, by what the policy's log-probs are: KL counts against it."""


def assess(
    sampled: Episodes,
    task: Task,
    best: Optimum,
    *,
    seconds: float = 0.0,
    seed: int = 0,
    fresh: bool = False,
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
    reward_mean, kl_mean = stratified_mean(reward, strata), stratified_mean(kl, strata)
    objective = stratified_mean(reward - beta * kl, strata)
    difference = 0.0
    if sampled.other_kl is None:
        regret = Mean(best.value - objective.value, objective.error, objective.degrees_of_freedom)
    else:
        difference = stratified_mean(reward - beta * kl + beta * sampled.other_kl, strata).error
        regret = stratified_mean(beta * sampled.other_kl, strata)
        objective = Mean(best.value - regret.value, regret.error, regret.degrees_of_freedom)
        method += f"; {FROM_OPTIMUM}"
    return Evaluation(
        env_id=best.env_id,
        kl_coef=beta,
        objective=objective.interval(),
        expected_reward=reward_mean.interval(),
        kl=kl_mean.interval(),
        score=score_interval(regret, best),
        regret=regret.plus(best.value_stderr).interval(),
        optimum=Interval(best.value, best.lower, best.upper),
        reference_value=best.reference_value,
        errors=StandardErrors(objective.error, reward_mean.error, kl_mean.error, regret.error, difference),
        exact=False,
        tail="resolved",
        log_probs="self-reported" if sampled.kl is None else "checked",
        bound=BOUND_OF[sampled.kind],
        method=method,
        metrics={name: float(values.mean()) for name, values in sampled.metrics.items()},
        episodes=len(strata),
        prompts=len(task.prompts.tokens),
        tokens=int(sampled.length.sum()),
        seconds=seconds,
        seed=seed,
        fresh=fresh,
        task_sha256=task.fingerprint,
        comparison=comparison,
    )


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
