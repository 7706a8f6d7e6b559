"""What is known of a policy without sampling, and the episodes held against it."""

from __future__ import annotations

from dataclasses import dataclass

from klrl_envs.evaluation.assess import Estimates
from klrl_envs.evaluation.estimators import Mean
from klrl_envs.evaluation.impossible import UNSEEN, refuse_difference, sigmas
from klrl_envs.evaluation.rollout import Episodes
from klrl_envs.optima.forward import MarkovEvaluation
from klrl_envs.optima.result import Optimum
from klrl_envs.policies import PolicyName, PolicyObject
from klrl_envs.tasks.base import Task

MEANING = "the policy does not do over all states what it does in its episodes, or the solver is wrong"


@dataclass(frozen=True)
class Truth:
    """J(pi), E[r], KL(pi || pi0) in nats, and J* - J(pi), computed over all states."""

    objective: float
    expected_reward: float
    kl: float
    regret: float


def truth_of(own: MarkovEvaluation, kl_coef: float) -> Truth:
    """Of a policy that was evaluated by a forward pass, compared with pi* first."""
    return Truth(own.objective, own.expected_reward, own.kl, kl_coef * own.divergences[0])


def known(policy: PolicyObject | PolicyName, best: Optimum) -> Truth | None:
    """Of the reference and of pi* on exact tasks, which the optimum holds; else None."""
    if best.policy is None or not isinstance(policy, str):
        return None
    if policy == "reference":
        return Truth(best.reference_value, best.reference_value, 0.0, best.value - best.reference_value)
    if policy == "optimal":
        return Truth(best.value, best.expected_reward, best.kl, 0.0)
    return None


def check_truth(truth: Truth, estimates: Estimates, sampled: Episodes, task: Task, best: Optimum) -> None:
    """Refuse a policy whose episodes contradict what was computed.

    The limits are five standard errors, and what events may add that the episodes missed.

    Raises:
        ImpossibleEvaluation: they do, with the numbers.
    """
    count, beta = len(sampled.prompt), task.kl_coef
    net, value = truth.expected_reward - beta * truth.kl, best.value - truth.regret
    refuse_difference("reward less KL, and J* - regret, over all states", net, value, 0.0, MEANING)
    low, high = task.mean_reward_range
    farthest = 0.0
    for spread in (sampled.spread, sampled.other_spread):
        farthest = max(farthest, 0.0 if spread is None else float(spread.largest.max()))
    nats = task.horizon * farthest
    pairs: tuple[tuple[str, Mean, float, float], ...] = (
        ("expected reward", estimates.expected_reward_mean, truth.expected_reward, high - low),
        ("KL", estimates.kl_mean, truth.kl, nats),
        ("regret", estimates.regret, truth.regret, high - low + beta * nats),
    )
    for name, mean, exact, most in pairs:
        limit = sigmas(mean.degrees_of_freedom) * mean.error + most * UNSEEN / count
        refuse_difference(f"{name} from episodes and over all states", mean.value, exact, limit, MEANING)
