"""Optima at coefficients and probabilities that would overflow, underflow or cancel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.optima.dynamic_programme import solve
from klrl_envs.optima.forward import (
    final_states,
)
from klrl_envs.reference.markov import MarkovReference, UniformReference
from klrl_envs.reward.automaton import RewardAutomaton
from tests.oracles import Instance, assert_solved, draw, enumerate_optimum, starts, texts


@pytest.mark.parametrize("kind", ["trigram", "context_reward"])
def test_a_tiny_coefficient_loses_nothing_of_any_kind(kind):
    for seed in range(40):
        task = draw(seed, peaked=True, **{kind: True})
        task.kl_coef = 1e-3
        assert_solved(task)
        solution = task.solve()
        ends = final_states(task.problem, solution)
        np.testing.assert_allclose(ends, task.evaluate(solution.log_probs).final_states, atol=1e-9)


def test_a_tiny_coefficient_neither_overflows_nor_loses_the_optimum():
    for seed in range(60):
        task = draw(seed, peaked=True)
        task.kl_coef = 1e-3
        assert_solved(task)
    huge = RewardAutomaton([[0, 1], [1, 1]], final_reward=[0, 1e4])
    solution = solve(UniformReference(2), huge, horizon=3, end_token=None, kl_coef=1e-3)
    assert solution.value == pytest.approx(1e4 + 1e-3 * math.log(7 / 8), abs=1e-9)
    assert all(np.isfinite(table).all() for table in solution.tables)


def test_a_tiny_coefficient_approaches_the_best_text():
    for seed in range(20):
        task = draw(seed)
        best = sum(p * max(r for _, _, r in texts(task, q)) for q, p in starts(task))
        task.kl_coef = 1e-6
        assert task.solve().value == pytest.approx(best, abs=1e-4)


def test_a_huge_coefficient_approaches_the_reference_to_second_order():
    """J* = E_0 r + Var_0 r / (2 beta) + O(1/beta^2), and nothing cancels."""
    for seed in range(30):
        task = draw(seed)
        task.kl_coef = 1e7
        mean = variance = 0.0
        for state, chance in starts(task):
            weights, rewards = np.array([(w, r) for _, w, r in texts(task, state)]).T
            first = math.fsum(np.exp(weights) * rewards)
            mean += chance * first
            variance += chance * math.fsum(np.exp(weights) * (rewards - first) ** 2)
        solution = task.solve()
        assert solution.value == pytest.approx(mean, abs=1e-6)
        assert solution.value - mean == pytest.approx(variance / 2e7, abs=1e-12)
        assert 0 <= solution.kl < 1e-10


def test_rare_tokens_go_through_log_sum_exp():
    """A token of probability exp(-2000) decides the reward; its exponential alone underflows."""
    sure = math.log(-math.expm1(-2000.0))
    reference = MarkovReference([sure, -2000.0], [[sure, -2000.0], [sure, -2000.0]])
    machine = RewardAutomaton([[0, 1], [1, 1]], final_reward=[0.0, 30.0])
    for kl_coef in (1e-3, 0.01, 0.015, 1.0):
        task = Instance(reference, machine, 3, None, kl_coef)
        known = enumerate_optimum(task)
        solution = task.solve()
        assert solution.value == pytest.approx(known.value, abs=1e-10)
        assert solution.expected_reward == pytest.approx(known.expected_reward, abs=1e-8)
