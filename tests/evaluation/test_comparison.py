"""How a policy differs from the optimum: exactly, against enumeration and sampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs import RewardAutomaton, UniformReference, exact_task
from klrl_envs.policies import CallablePolicy
from tests.oracles import Instance, RandomPolicy, log_prob_of, random_bigram, random_rows, texts

SIZE = 3


def make_env(seed: int, kl_coef: float = 0.5) -> Any:
    rng = np.random.default_rng(seed)
    reference = random_bigram(rng, SIZE)
    automaton = RewardAutomaton(
        [[1, 2, 0], [0, 1, 2], [2, 0, 1]], rng.normal(size=(3, SIZE)), rng.normal(size=3)
    )
    return exact_task(reference, automaton, horizon=4, kl_coef=kl_coef, end_token=0)


@pytest.mark.parametrize("seed", range(5))
def test_exact_evaluation_equals_enumeration(seed: int) -> None:
    env = make_env(seed)
    task = env.unwrapped.task
    policy, best = RandomPolicy(task, seed + 100, spread=1.5), klrl_envs.optimum(env)
    found = klrl_envs.evaluate_exactly(policy, env)
    assert best.policy is not None
    instance = Instance.of(task)
    written, log_reference, rewards = zip(*texts(instance, 0))
    log_pi, log_best = (
        np.array([log_prob_of(instance, rows, 0, text) for text in written])
        for rows in (policy.state_log_probs, best.policy.log_probs)
    )
    pi, ideal = np.exp(log_pi), np.exp(log_best)
    kl = math.fsum(pi * (log_pi - log_reference))
    assert found.kl == pytest.approx(kl, abs=1e-10)
    assert found.expected_reward == pytest.approx(math.fsum(pi * rewards), abs=1e-10)
    assert found.objective == pytest.approx(math.fsum(pi * rewards) - task.kl_coef * kl, abs=1e-10)
    assert found.regret == pytest.approx(best.value - found.objective, abs=1e-10)
    seen = found.comparison
    assert seen.exact
    for interval, value in (
        (seen.reverse_kl, math.fsum(pi * (log_pi - log_best))),
        (seen.forward_kl, math.fsum(ideal * (log_best - log_pi))),
        (seen.entropy, -math.fsum(pi * log_pi)),
        (seen.optimal_entropy, -math.fsum(ideal * log_best)),
    ):
        assert interval.estimate == pytest.approx(value, abs=1e-10)


def test_named_policies_score_what_they_must() -> None:
    env = make_env(7)
    assert klrl_envs.evaluate_exactly("optimal", env).score == pytest.approx(1.0, abs=1e-9)
    reference = klrl_envs.evaluate_exactly("reference", env)
    assert reference.score == pytest.approx(0.0, abs=1e-9)
    assert reference.kl == pytest.approx(0.0, abs=1e-12)
    assert reference.comparison.forward_kl.estimate == pytest.approx(klrl_envs.optimum(env).kl, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sampled_evaluation_agrees_with_exact_evaluation(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_env(seed)
    policy = RandomPolicy(env.unwrapped.task, seed, spread=1.5)
    exact = klrl_envs.evaluate_exactly(policy, env)
    computed = klrl_envs.evaluate(policy, env, episodes=4096, seed=seed)
    assert computed.comparison == exact.comparison
    monkeypatch.setattr("klrl_envs.evaluation.comparison.MOST_ENTRIES", 0)
    sampled = klrl_envs.evaluate(policy, env, episodes=16384, seed=seed)
    assert sampled.comparison is not None
    assert not sampled.comparison.exact
    pairs = [
        (sampled.objective, exact.objective),
        (sampled.expected_reward, exact.expected_reward),
        (sampled.kl, exact.kl),
        (sampled.score, exact.score),
        *(
            (getattr(sampled.comparison, name), getattr(exact.comparison, name).estimate)
            for name in ("reverse_kl", "forward_kl", "entropy", "optimal_entropy")
        ),
    ]
    for interval, value in pairs:
        assert interval is not None
        slack = interval.upper - interval.lower  # twice the 95 % half-width
        assert interval.estimate == pytest.approx(value, abs=slack + 1e-9)


def test_policies_on_features_and_state_vectors_are_evaluated_exactly() -> None:
    row = random_rows(np.random.default_rng(0), 4)
    policy = CallablePolicy(lambda observations: np.broadcast_to(row, (len(observations), 4)))
    on_features = klrl_envs.evaluate_exactly(policy, "klrl/GridNavigationFeatures-v0", horizon=6)
    on_states = klrl_envs.evaluate_exactly(policy, "klrl/GridNavigation-v0", horizon=6)
    assert on_features.objective == pytest.approx(on_states.objective, abs=1e-12)
    by_state = klrl_envs.evaluate("uniform", "klrl/GridNavigation-v0", episodes=64, horizon=6)
    assert by_state.comparison is not None
    assert by_state.comparison.exact


def test_support_that_a_policy_lacks_is_an_infinite_forward_divergence() -> None:
    env = make_env(1)
    row = np.array([-np.inf, np.log(0.5), np.log(0.5)])

    class Narrow:
        def state_log_probs(self, context: Any, state: Any, time: Any) -> np.ndarray:
            return np.broadcast_to(row, (len(context), 3))

    result = klrl_envs.evaluate(Narrow(), env, episodes=64)
    assert result.comparison is not None
    assert result.comparison.forward_kl.estimate == math.inf
    assert math.isfinite(result.comparison.reverse_kl.estimate)
    assert '"forward_kl": {\n      "estimate": null' in result.to_json()


def test_what_cannot_be_evaluated_exactly_is_refused() -> None:
    env = make_env(2)
    reader = CallablePolicy(lambda observations: np.full((len(observations), SIZE), -np.log(SIZE)))
    with pytest.raises(TypeError, match="reads whole texts"):
        klrl_envs.evaluate_exactly(reader, env)
    with pytest.raises(TypeError, match="needs an exact environment"):
        klrl_envs.evaluate_exactly("reference", "klrl/Sentiment-v0")


def test_metrics_of_the_policy_and_of_the_optimum_are_exact() -> None:
    """A lock of two fair coins: the mass of each last state is known in closed form."""
    automaton = RewardAutomaton([[0, 1], [0, 2], [2, 2]], final_reward=[0.0, 0.0, 1.0])
    env: Any = exact_task(UniformReference(2), automaton, horizon=2, kl_coef=1.0)
    task = env.unwrapped.task
    object.__setattr__(task, "final_metrics", {"open": np.array([0.0, 0.0, 1.0])})
    found = klrl_envs.evaluate_exactly("reference", env).comparison
    assert found.metrics["open"].estimate == pytest.approx(0.25, abs=1e-12)
    tilted = 0.25 * math.e / (0.25 * math.e + 0.75)
    assert found.optimal_metrics["open"].estimate == pytest.approx(tilted, abs=1e-12)


def test_gold_rises_and_falls_along_the_optimum_of_the_proxy() -> None:
    kl_coefs = (0.5, 0.12, 0.06, 0.02)
    gold = [means["gold"] for means in klrl_envs.metrics_along_frontier("klrl/DiagnosticGold-v0", kl_coefs)]
    for kl_coef, value in zip(kl_coefs, gold):
        found = klrl_envs.evaluate_exactly("optimal", "klrl/DiagnosticGold-v0", kl_coef=kl_coef)
        assert found.comparison.optimal_metrics["gold"].estimate == pytest.approx(value, abs=1e-9)
        assert found.score == pytest.approx(1.0, abs=1e-9)
    assert gold[0] < gold[1] > gold[2] > gold[3]
    with pytest.raises(TypeError, match="needs an exact environment"):
        klrl_envs.metrics_along_frontier("klrl/Sentiment-v0", [0.1])
