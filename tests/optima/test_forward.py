"""Exact evaluation of policies, and the law of a reward that is paid at the end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.optima.dynamic_programme import Problem
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.terminal_law import terminal_law
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reward.automaton import RewardAutomaton
from tests.oracles import RandomPolicy, draw, enumerate_optimum, log_prob_of, starts, texts


@pytest.mark.parametrize("execution", [False, True])
def test_exact_evaluation_of_the_optimum_the_reference_and_others(execution):
    for seed in range(15):
        task = draw(seed, execution=execution)
        solution = task.solve()
        best = task.evaluate(solution.log_probs)
        assert best.objective == pytest.approx(solution.value, abs=1e-10)
        assert best.expected_reward == pytest.approx(solution.expected_reward, abs=1e-10)
        assert best.kl == pytest.approx(solution.kl, abs=1e-10)
        reference = task.evaluate(lambda c, q, t, rows=task.reference.rows: rows(c))
        assert reference.kl == pytest.approx(0.0, abs=1e-14)
        assert reference.objective == pytest.approx(solution.reference_value, abs=1e-10)
        rows = RandomPolicy(task, seed).state_log_probs
        other = task.evaluate(rows)
        assert other.objective <= solution.value + 1e-12
        if not execution:
            known = sum(
                chance * math.exp(log_pi) * (reward - task.kl_coef * (log_pi - weight))
                for state, chance in starts(task)
                for text, weight, reward in texts(task, state)
                for log_pi in [log_prob_of(task, rows, state, text)]
            )
            assert other.objective == pytest.approx(known, abs=1e-10)


def test_the_law_of_a_terminal_reward_gives_every_optimum():
    for seed in range(30):
        task = draw(seed, terminal=True, prompts=seed % 2 == 1, trigram=seed % 3 == 1)
        law = terminal_law(task.problem)
        np.testing.assert_allclose(law.probabilities.sum(axis=1), 1.0, atol=1e-12)
        for kl_coef in (0.05, 1.0, 20.0):
            task.kl_coef = kl_coef
            known = enumerate_optimum(task)
            np.testing.assert_allclose(
                law.optimum(kl_coef), [known.value, known.expected_reward, known.kl], atol=1e-10
            )
        assert law.reference_value == pytest.approx(known.reference_value, abs=1e-12)


def test_the_law_refuses_what_it_does_not_determine():
    slippery = draw(1, execution=True, terminal=True)
    with pytest.raises(ValueError, match="without stochastic execution"):
        terminal_law(Problem(slippery.reference, slippery.automaton, 2, None))
    paying = RewardAutomaton([[0, 0]], reward=[[1.0, 0.0]])
    with pytest.raises(ValueError, match="without rewards before the end"):
        terminal_law(Problem(UniformReference(2), paying, 2, None))


def test_policy_rows_are_checked():
    problem = Problem(UniformReference(2), RewardAutomaton([[0, 0]]), 2, None)
    with pytest.raises(ValueError, match="a row sums to 2"):
        evaluate_markov(problem, lambda c, q, t: np.zeros((c.size, 2)), kl_coef=1.0)
    with pytest.raises(ValueError, match=r"must return shape \(1, 2\), returned \(1, 3\)"):
        evaluate_markov(problem, lambda c, q, t: np.zeros((c.size, 3)), kl_coef=1.0)
