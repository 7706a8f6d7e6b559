"""From episodes to estimates: pure functions of what was sampled.

Estimators from one episode. r is its reward, l_t the log-ratio of the token taken, KL_t the exact KL of the
whole vocabulary at the state, beta = kl_coef, and sums run over the episode's tokens:

    A = r - beta sum l_t      zero variance at pi*
    B = r - beta sum KL_t     often better far from pi*
    M = sum (l_t - KL_t)      mean zero, so that B - c M is unbiased for any c chosen on other episodes

A is for policies that have no rows, B - c M for all others. On exact environments the regret is
beta sum KL(pi(.|s_t) || pi*(.|s_t)): unbiased, never negative, zero variance at pi*. Sources: the chain rule
of KL and, for the regret, the soft performance difference (Todorov 2006; Levine 2018, arXiv 1805.00909).

Intervals are Student's where enough rare events were seen (``Mean.events``). Else the sample does not know
its own error, and the interval comes from what is declared: the reward lies in its range, and no policy
exceeds J*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from klrl_envs.evaluation.estimators import FOLDS, Interval, Mean, stratified_mean, student, with_control
from klrl_envs.evaluation.impossible import (
    ROUNDING,
    UNSEEN,
    lines_above,
    refuse_above,
    refuse_difference,
    sigmas,
)
from klrl_envs.evaluation.rollout import Episodes, Spread
from klrl_envs.evaluation.shared_error import shared_score_error
from klrl_envs.optima.bounds import mean_bounds
from klrl_envs.optima.certificate import CONFIDENCE
from klrl_envs.optima.result import Optimum
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.tasks.base import Task

FROM_SAMPLES = "reward less kl_coef times the log-ratio of the text"
FROM_ROWS = f"reward less the exact KL, with a control variate fitted on the other episodes in {FOLDS} folds"
FROM_OPTIMUM = "regret, objective and score from the exact KL to the optimal policy at every state"


@dataclass(frozen=True)
class Estimates:
    """What episodes say of a policy.

    Attributes:
        reward, kl: float64[E], of each episode, with a control variate where there is one.
        raw_reward: float64[E], the rewards as they were paid.
        expected_reward_mean, kl_mean, net: the means of reward, kl and reward - kl_coef kl.
        objective, regret: J(pi) and J* - J(pi), each estimated in its best way.
        difference: net less the objective: zero but for its own error, which says how far it may be off.
        method: the estimators, in words.
    """

    reward: FloatArray
    kl: FloatArray
    raw_reward: FloatArray
    expected_reward_mean: Mean
    kl_mean: Mean
    net: Mean
    objective: Mean
    regret: Mean
    difference: Mean
    method: str

    @property
    def resolved(self) -> bool:
        """Whether every interval is Student's."""
        return self.expected_reward_mean.resolved and self.kl_mean.resolved and self.regret.resolved


def estimates_of(sampled: Episodes, task: Task, best: Optimum) -> Estimates:
    """The estimates of a policy from its episodes."""
    beta, strata = task.kl_coef, sampled.prompt
    if sampled.kl is None:
        reward, kl, method = sampled.reward, sampled.log_ratio, FROM_SAMPLES
    else:
        control = sampled.log_ratio - sampled.kl
        reward = with_control(sampled.reward, control, strata)
        kl = with_control(sampled.kl, control, strata)
        method = FROM_ROWS
    net = stratified_mean(reward - beta * kl, strata)
    if sampled.other_kl is None:
        objective, difference = net, Mean(0.0, 0.0, net.degrees_of_freedom)
        regret = Mean(best.value - net.value, net.error, net.degrees_of_freedom, net.events)
    else:
        rounding = 1e-12 * max(1.0, abs(best.value))
        regret = stratified_mean(
            np.where(beta * sampled.other_kl > rounding, beta * sampled.other_kl, 0.0), strata
        )
        objective = Mean(best.value - regret.value, regret.error, regret.degrees_of_freedom, regret.events)
        off = stratified_mean(reward - beta * kl + beta * sampled.other_kl, strata)
        difference = Mean(off.value - best.value, off.error, off.degrees_of_freedom)
        method += f"; {FROM_OPTIMUM}"
    # B varies with the KL also where no rare reward was seen: what its spread rests on are both
    seen = stratified_mean(sampled.reward, strata).events if varies(task) else math.inf
    reward_mean = counted(stratified_mean(reward, strata), seen)
    return Estimates(
        reward=reward,
        kl=kl,
        raw_reward=sampled.reward,
        expected_reward_mean=reward_mean,
        kl_mean=counted(stratified_mean(kl, strata), math.inf if never_leaves(sampled) else None),
        net=net,
        objective=counted(objective, min(seen, objective.events)),
        regret=counted(regret, min(seen, regret.events)),
        difference=difference,
        method=method,
    )


def counted(mean: Mean, events: float | None) -> Mean:
    """A mean with another number of events that it rests on; None leaves its own."""
    return mean if events is None else Mean(mean.value, mean.error, mean.degrees_of_freedom, events)


def varies(task: Task) -> bool:
    """Whether two texts of a task may have different rewards."""
    low, high = task.mean_reward_range
    return high > low


def never_leaves(sampled: Episodes) -> bool:
    """Whether the policy's rows are pi0's own wherever it was."""
    return sampled.spread is not None and not sampled.spread.largest.any() and not sampled.log_ratio.any()


def check(estimates: Estimates, sampled: Episodes, task: Task, best: Optimum) -> None:
    """Refuse estimates that no policy has: J above J*, a point above the frontier, a wrong solver.

    Raises:
        ImpossibleEvaluation: which it is, with the numbers.
    """
    beta, count = task.kl_coef, len(sampled.prompt)
    low, high = task.mean_reward_range
    # what is drawn beside the tokens costs no nats: an unseen start or slip is worth the range of the reward
    luck = high - low if task.random_beside_tokens else 0.0
    if sampled.kind != "lower":
        lines = ((beta, best.value, best.value_stderr), *lines_above(best))
        for price, value, error in lines:
            # the log-ratio: what unseen events add to the rows' own KL may be more than their nats
            net = stratified_mean(sampled.reward - price * sampled.log_ratio, sampled.prompt)
            name = "the objective J" if price == beta else f"expected reward - {price:.3g} KL"
            room = (price + luck) * UNSEEN / count
            refuse_above(name, net, value, error=error, room=room, rounding=price * ROUNDING)
    if sampled.other_spread is not None:
        difference = estimates.difference
        error = max(difference.error, beta * predicted_error(sampled.other_spread))
        limit = sigmas(difference.degrees_of_freedom) * error
        limit += beta * float(sampled.other_spread.largest.max()) * UNSEEN / count
        refuse_difference(
            "J from rewards and KL, and J* - regret from the optimal policy",
            estimates.net.value, best.value - estimates.regret.value, limit,
            "the optimum's solver, the rewards or the policy's rows are wrong",
        )  # fmt: skip


def predicted_error(spread: Spread) -> float:
    """The standard error of a mean of log-ratios that the rows foretell, of what was not seen, too."""
    return math.sqrt(float(spread.variance.sum())) / len(spread.variance)


def reward_interval(estimates: Estimates, task: Task) -> Interval:
    """Of the expected reward: Student's, or from the range of the reward by bounds that hold for any law."""
    mean = estimates.expected_reward_mean
    if mean.resolved:
        return mean.interval()
    low, high = task.mean_reward_range
    shares = (estimates.raw_reward[None] - low) / (high - low)
    lower, upper = mean_bounds(shares.clip(0.0, 1.0), (1.0 - CONFIDENCE) / 4)
    bounds = low + (high - low) * float(lower[0]), low + (high - low) * float(upper[0])
    return Interval(mean.value, min(bounds[0], mean.value), max(bounds[1], mean.value))


def kl_interval(estimates: Estimates, sampled: Episodes, task: Task) -> Interval:
    """Of the KL: Student's; where that is not resolved also what unseen events may add.

    With 95 % confidence they have a probability of at most log 40 / E, and each pays at most the largest
    log-ratio of a token seen, at each of its steps.
    """
    interval = estimates.kl_mean.interval()
    if estimates.kl_mean.resolved:
        return interval
    if sampled.spread is None:
        largest = float(abs(sampled.log_ratio).max())
    else:
        largest = task.horizon * float(sampled.spread.largest.max())
    room = math.log(2.0 / (1.0 - CONFIDENCE)) / len(sampled.prompt) * largest
    return Interval(
        interval.estimate, min(max(interval.lower, 0.0), interval.estimate), interval.upper + room
    )


def regret_interval(estimates: Estimates, best: Optimum, reward: Interval, kl: Interval) -> Interval:
    """Of J* - J(pi), J* known: Student's, or from the intervals of reward and KL; never below 0 then."""
    interval = estimates.regret.interval()
    if estimates.regret.resolved:
        return interval
    lower = best.value - (reward.upper - best.kl_coef * kl.lower)
    upper = best.value - (reward.lower - best.kl_coef * kl.upper)
    return Interval(interval.estimate, min(interval.estimate, max(lower, 0.0)), max(interval.upper, upper))


def score_interval(regret: Interval, best: Optimum) -> Interval | None:
    """The score 1 - (J* - J) / (J* - J0) with its interval; None where J* = J0.

    Args:
        regret: J* - J(pi) with the interval of J(pi) alone.
        best: the optimum, with the errors of J* and J0, which are added in quadrature.
    """
    gap = best.gap
    if gap is None:
        return None
    score = 1.0 - regret.estimate / gap
    shared = student(math.inf) * shared_score_error(score, best)
    below = math.hypot((regret.upper - regret.estimate) / gap, shared)
    above = math.hypot((regret.estimate - regret.lower) / gap, shared)
    return Interval(score, score - below, score + above)
