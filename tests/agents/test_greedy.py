"""Greedy and uniform: what they write, and what that costs, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from agents import greedy, uniform
from agents.arguments import Arguments
from agents.greedy import Greedy, most_probable
from klrl_envs import evaluate_exactly
from tests.agents.tiny import tiny_task


def test_the_most_probable_are_drawn_alike() -> None:
    rows = np.log(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]]))
    expected = [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(np.exp(most_probable(rows)), expected)


def test_its_price_is_that_of_its_text() -> None:
    """On the tiny task it writes 1, 1: nothing is earned, at -log(.5 .6) nats."""
    task = tiny_task()
    env = klrl_envs.exact_task(
        task.reference, task.automaton, horizon=task.horizon, kl_coef=task.kl_coef, end_token=task.end_token
    )
    found = evaluate_exactly(Greedy(task), env)
    assert found.expected_reward == 0.0
    assert found.kl == pytest.approx(-np.log(0.5 * 0.6), abs=1e-12)
    assert found.comparison.forward_kl.estimate == np.inf


def test_by_texts_it_is_what_it_is_by_states() -> None:
    task = klrl_envs.make_task("DiagnosticGold-v0").exact
    assert task is not None
    policy = Greedy(task)
    texts = np.full((1, task.max_length), task.pad)
    texts[0, :3] = (5, 9, 2)
    context = task.reference.context_after(texts, np.array([3]))
    by_state = policy.state_log_probs(context, np.array([0]), np.array([3]))
    np.testing.assert_array_equal(policy.log_probs(texts), by_state)
    policy.start(np.zeros((1, 0), dtype=np.int64))
    stepped = [policy.step(np.array([token])) for token in (5, 9, 2)][-1]
    np.testing.assert_array_equal(stepped, by_state)


@pytest.mark.parametrize("agent", [greedy, uniform])
def test_where_the_reference_is_uniform_both_are_the_reference(agent, tmp_path: Path) -> None:
    evaluation = agent.train(Arguments(out=str(tmp_path), episodes=64))
    assert evaluation.score_estimate == pytest.approx(0.0, abs=1e-9)
    assert evaluation.kl.estimate == pytest.approx(0.0, abs=1e-9)
