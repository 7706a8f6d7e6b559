"""`evaluate`: what it says of the reference and the optimum, whom it takes, and what it refuses."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOperatorIssue=false, reportCallIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs import REGISTRY, RewardAutomaton, evaluate, evaluate_exactly, exact_task, make_task, optimum
from klrl_envs.policies import CallablePolicy, LanesPolicy
from tests.oracles import random_bigram, random_env

pytestmark = pytest.mark.slow

ROWS = sorted(REGISTRY, key=lambda row: "exact" not in row.tags)
"""Exact environments come first, so that both tests below ask for the same optimum in turn."""

EXACT = [row for row in ROWS if "exact" in row.tags]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id, scope="module")
def test_the_reference_scores_zero(row):
    result = evaluate("reference", row.gym_id, episodes=128, seed=1)
    if optimum(row.gym_id).kl < 1e-12:  # pi0 is optimal: there is nothing to score
        assert result.score is None and result.regret.estimate == pytest.approx(0, abs=1e-9)
    else:
        assert result.score is not None
        slack = (result.score.upper - result.score.lower) / 2 + 1e-9
        assert result.score.lower - slack <= 0 <= result.score.upper + slack
    assert result.kl.estimate == pytest.approx(0, abs=1e-4)
    assert result.env_id == row.gym_id and result.kl_coef == row.kl_coef


@pytest.mark.parametrize("row", EXACT, ids=lambda row: row.id, scope="module")
def test_the_exact_posterior_scores_one(row):
    result = evaluate("optimal", row.gym_id, episodes=64)
    assert abs(result.regret.estimate) < 1e-9 and result.regret.upper < 1e-9
    best = optimum(row.gym_id)
    if best.kl < 1e-12:
        assert result.score is None
    else:
        assert result.score is not None and result.score.estimate == pytest.approx(1, abs=1e-9)
    assert result.objective.estimate == pytest.approx(best.value)
    assert result.expected_reward.lower < best.expected_reward < result.expected_reward.upper or (
        result.expected_reward.estimate == pytest.approx(best.expected_reward, rel=0.05)
    )


def test_token_state_and_cached_policies_are_the_same_policy():
    env = random_env(2)
    task = env.unwrapped.task
    model = random_bigram(np.random.default_rng(5), task.vocab_size)
    cached = LanesPolicy(model.lanes, task)
    rows = CallablePolicy(cached.log_probs)

    class State:
        @staticmethod
        def state_log_probs(context, state, time):
            return model.table[context]

    results = [evaluate(policy, env, episodes=300, seed=3) for policy in (cached, rows, State())]
    assert results[0].objective == results[1].objective
    assert results[0].tokens == results[1].tokens == results[2].tokens
    assert results[2].exact and not results[0].exact, "whoever reads the text may remember more of it"
    assert results[0].objective.lower < results[2].objective.estimate < results[0].objective.upper
    assert evaluate(rows, env, episodes=300, seed=4).objective != results[0].objective


def test_a_function_is_evaluated_as_the_policy_that_it_is():
    grid = "klrl/GridNavigation-v0"

    def rows(observations):
        return np.full((len(observations), 4), -np.log(4))

    result, named = evaluate(rows, grid, episodes=64), evaluate("uniform", grid, episodes=64)
    assert result.score_estimate == result.score.estimate == pytest.approx(named.score_estimate, abs=1e-12)
    assert evaluate_exactly(rows, grid).score == pytest.approx(evaluate_exactly("uniform", grid).score)
    assert evaluate("reference", "klrl/DiagnosticZeroReward-v0", episodes=8).score_estimate is None


def test_the_comparison_has_its_old_name_too():
    grid = "klrl/GridNavigation-v0"
    for result in (evaluate("uniform", grid, episodes=8), evaluate_exactly("uniform", grid)):
        with pytest.warns(DeprecationWarning, match="diagnostics is the old name of comparison"):
            assert result.diagnostics is result.comparison


def test_sequence_policies_are_scored_by_their_log_prob():
    env = random_env(2)
    task, best = env.unwrapped.task, optimum(env)

    class Constant:
        """Always the same text: KL = -log pi0 of it."""

        log_prob_kind = "upper"

        def sample(self, prompts, rng):
            return np.tile([3, 2, 0, 1, 1, 1], (len(prompts), 1)), np.zeros(len(prompts))

    result = evaluate(Constant(), env, episodes=50)
    table = task.reference.table
    kl = -(table[5, 3] + table[3, 2] + table[2, 0])
    assert result.kl.estimate == pytest.approx(kl)
    assert result.bound == "lower" and result.tokens == 150
    reward = result.expected_reward.estimate
    score = (reward - 0.5 * kl - best.reference_value) / (best.value - best.reference_value)
    assert result.score is not None and result.score.estimate == pytest.approx(score)


def test_features_ids_show_features():
    shapes = []

    def uniform(observations):
        shapes.append((observations.shape[1:], observations.dtype))
        return np.full((len(observations), 4), -np.log(4))

    for env in ("klrl/GridNavigationFeatures-v0", gym.make("klrl/GridNavigationFeatures-v0")):
        evaluate(CallablePolicy(uniform), env, episodes=4)
    made = gym.make("klrl/GridNavigationFeatures-v0")
    assert set(shapes) == {(made.observation_space.shape, np.dtype(np.float32))}
    shapes.clear()
    evaluate(CallablePolicy(uniform), gym.make_vec("klrl/GridNavigation-v0", 2), episodes=4)
    assert set(shapes) == {((3,), np.dtype(np.int64))}


def test_nothing_to_win_means_no_score():
    reference = random_bigram(np.random.default_rng(0), 5)
    env = exact_task(reference, RewardAutomaton(np.zeros((1, 5), dtype=int)), horizon=3, kl_coef=1.0)
    result = evaluate("uniform", env, episodes=32)
    assert result.score is None and result.regret.estimate > 0
    assert json.loads(result.to_json())["score"] is None


def test_to_json_holds_everything():
    result = json.loads(evaluate("uniform", random_env(), episodes=32, seed=7).to_json())
    assert result["seed"] == 7 and result["episodes"] == 32 and result["env_id"] == "exact_task"
    assert set(result["score"]) == {"estimate", "lower", "upper"}
    assert len(result["task_sha256"]) == 64


def test_metrics_are_means():
    result = evaluate("uniform", "klrl/GridNavigation-v0", episodes=64, seed=0)
    assert 0 <= result.metrics["success"] <= 1


@pytest.mark.parametrize(
    "rows, message",
    [
        (lambda observations: np.zeros((len(observations), 4)), "apply a log-softmax"),
        (lambda observations: np.full((len(observations), 4), np.nan), "NaN"),
        (lambda observations: np.zeros((len(observations), 5)), "shape"),
    ],
)
def test_bad_policies_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        evaluate(CallablePolicy(rows), "klrl/GridNavigation-v0", episodes=4)


def test_bad_arguments_are_refused():
    grid = "klrl/GridNavigation-v0"
    for kl_coef in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="kl_coef must be"):
            evaluate("uniform", grid, kl_coef=kl_coef)
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        evaluate("uniform", grid, episodes=0)
    with pytest.raises(ValueError, match=r"policy must be one of .* got 'best'"):
        evaluate("best", grid, episodes=4)
    with pytest.raises(TypeError, match="a policy has log_probs"):
        evaluate(object(), grid, episodes=4)
    with pytest.raises(TypeError, match="environment of klrl_envs"):
        evaluate("uniform", gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="arguments go with an id"):
        evaluate("uniform", gym.make(grid), horizon=3)
    with pytest.raises(ValueError, match="unknown environment"):
        evaluate("uniform", "klrl/Nothing-v0")


def test_noise_on_the_reward_is_no_noise_of_the_evaluation():
    """The mean is known, so that luck would only widen the interval of the expected reward."""
    env_id = "klrl/DiagnosticNoise-v0"
    lucky, still = (evaluate("reference", env_id, episodes=256, seed=1, sigma=sigma) for sigma in (3.0, 0.0))
    assert lucky.expected_reward == still.expected_reward and lucky.score == still.score
    assert lucky.task_sha256 == make_task(env_id, sigma=3.0).fingerprint
