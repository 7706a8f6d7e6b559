"""Estimators against exact evaluation: agreement, control variates and coverage."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOperatorIssue=false, reportCallIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs import evaluate, optimum
from klrl_envs.evaluation.assess import estimates_of
from klrl_envs.evaluation.estimators import Interval, stratified_mean, with_control
from klrl_envs.evaluation.evaluate import sampled_numbers
from klrl_envs.evaluation.result import StandardErrors
from klrl_envs.evaluation.rollout import Episodes, Spread, roll_out
from klrl_envs.optima.certificate import Certificate
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import problem_of
from klrl_envs.policies import OptimalPolicy
from tests.oracles import RandomPolicy, random_env

pytestmark = pytest.mark.slow


def truth(env, policy):
    task = env.unwrapped.task
    return evaluate_markov(problem_of(task), policy.state_log_probs, kl_coef=task.kl_coef)


@pytest.mark.parametrize(
    "automaton",
    [
        {},
        {"start": [0.3, 0.7, 0.0]},
        {"absorbing": [False, False, True]},
        {"execution": 0.7 * np.eye(5) + 0.3 / 5, "horizon_reward": [2.0, 0.0, -1.0]},
    ],
    ids=["plain", "start", "absorbing", "execution"],
)
def test_estimators_agree_with_exact_evaluation(automaton):
    env = random_env(3, **automaton)
    policy = RandomPolicy(env.unwrapped.task, 4)
    exact, best = truth(env, policy), optimum(env)
    task = env.unwrapped.task
    solution = OptimalPolicy(best.policy)
    result = numbers(roll_out(policy, task, episodes=20_000, seed=2, other=solution), task, best)
    for name, value in (
        ("objective", exact.objective),
        ("expected_reward", exact.expected_reward),
        ("kl", exact.kl),
    ):
        interval = result[name]
        spread = interval.upper - interval.lower
        assert abs(interval.estimate - value) < 1.2 * spread and spread < 0.2, name
    assert result["regret"].estimate == pytest.approx(best.value - exact.objective, abs=0.03)
    whole = evaluate(policy, env, episodes=64, seed=2)
    assert whole.exact and whole.errors == StandardErrors(0, 0, 0, 0, 0)
    for name in ("objective", "expected_reward", "kl"):
        assert getattr(whole, name) == Interval(*[getattr(exact, name)] * 3)
    sampled = roll_out(policy, task, episodes=20_000, seed=5)
    a = sampled.reward - task.kl_coef * sampled.log_ratio
    b = sampled.reward - task.kl_coef * sampled.kl
    m = sampled.log_ratio - sampled.kl
    combined = with_control(b, m, sampled.prompt)
    for values, mean in ((a, exact.objective), (b, exact.objective), (combined, exact.objective), (m, 0.0)):
        assert abs(values.mean() - mean) < 4 * values.std() / np.sqrt(len(values))
    assert combined.var() <= 1.01 * min(a.var(), b.var())


def test_variances_vanish_at_the_optimum():
    env = random_env(1)
    best = optimum(env)

    class Optimal:
        state_log_probs = staticmethod(best.policy.log_probs)

    sampled = roll_out(Optimal(), env.unwrapped.task, episodes=500, seed=0, other=Optimal())
    a = sampled.reward - 0.5 * sampled.log_ratio
    assert np.ptp(a) < 1e-12 and a.mean() == pytest.approx(best.value)
    assert np.abs(sampled.other_kl).max() < 1e-12
    combined = with_control(sampled.reward - 0.5 * sampled.kl, sampled.log_ratio - sampled.kl, sampled.prompt)
    assert np.ptp(combined) < 1e-9


def test_the_regression_keeps_linear_relations():
    rng = np.random.default_rng(0)
    strata = np.arange(400) % 8
    reward, kl, control = rng.normal(size=(3, 400))
    together = with_control(reward - 0.3 * kl, control, strata)
    apart = with_control(reward, control, strata) - 0.3 * with_control(kl, control, strata)
    assert together == pytest.approx(apart)


def numbers(sampled: Episodes, task, best) -> dict:
    """What an evaluation says of episodes."""
    return sampled_numbers(estimates_of(sampled, task, best), sampled, task, best)


@pytest.mark.parametrize("exact_regret", [True, False], ids=["regret", "control variate"])
def test_intervals_cover(exact_regret):
    env = random_env(6, kl_coef=0.3)
    policy = RandomPolicy(env.unwrapped.task, 7, spread=0.7)
    task, best, exact = env.unwrapped.task, optimum(env), truth(env, policy)

    class Optimal:
        state_log_probs = staticmethod(best.policy.log_probs)

    runs, size = 2000, 128
    optimal = Optimal() if exact_regret else None
    sampled = roll_out(policy, task, episodes=runs * size, seed=11, other=optimal)
    score = (exact.objective - best.reference_value) / (best.value - best.reference_value)
    covered = {"score": 0, "objective": 0, "kl": 0, "expected_reward": 0}
    known = {
        "score": score,
        "objective": exact.objective,
        "kl": exact.kl,
        "expected_reward": exact.expected_reward,
    }
    for run in range(runs):
        part = slice(run * size, (run + 1) * size)
        result = numbers(sampled.take(part), task, best)
        for name, value in known.items():
            interval = result[name]
            covered[name] += interval.lower <= value <= interval.upper
    for name, count in covered.items():
        assert 0.93 <= count / runs <= 0.97, f"{name}: {count / runs:.3f}"


def test_the_score_holds_the_errors_of_reference_and_optimum():
    """Coverage where J0 and J* are sampled from one and the same table, as a certificate's are."""
    rng = np.random.default_rng(0)
    prompts, samples, size, beta = 4, 400, 16, 0.4
    law = rng.random((prompts, 3)) + 0.2
    law /= law.sum(axis=1, keepdims=True)
    levels = np.array([0.0, 0.5, 1.0])
    start = float((law @ levels).mean())
    top = float((beta * np.log(law @ np.exp(levels / beta))).mean())
    agent = 0.5 * law + 0.5 * law[:, ::-1]  # some policy's law of the objective, its KL left out
    true = (float((agent @ levels).mean()) - start) / (top - start)
    runs, covered = 600, 0
    strata = np.arange(prompts * size) % prompts
    task = random_env().unwrapped.task

    class Prompted:
        kl_coef, fingerprint = beta, "0"
        prompts = task.prompts
        exact, mean_reward_range, horizon = None, (0.0, 1.0), 1

    for _ in range(runs):
        table = np.stack([rng.choice(levels, samples, p=row) for row in law]).astype(np.float32)
        best = Certificate(table, (0.0, 1.0), "0", "test").optimum(beta)
        rewards = np.array([rng.choice(levels, p=agent[p]) for p in strata])
        zeros = np.zeros(len(strata))
        one = np.ones(len(strata), dtype=np.int64)
        spread = Spread(zeros, zeros)
        episodes = Episodes(
            rewards, zeros, zeros, None, None, spread, None, one, {}, prompt=strata, kind="exact"
        )
        score = numbers(episodes, Prompted, best)["score"]
        covered += score.lower <= true <= score.upper
    assert covered / runs >= 0.93  # the correlation of J0 and J* is bounded, so it may exceed 0.95


def test_strata_are_taken_out_of_the_variance():
    strata = np.arange(40) % 4
    values = 10.0 * strata
    mean = stratified_mean(values, strata)
    assert mean.error == 0 and mean.value == 15
