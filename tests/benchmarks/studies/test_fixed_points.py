"""Where signals end state by state: their update vanishes at the policy that is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.studies import fixed_points
from benchmarks.studies.fixed_points import TablePolicy, backward
from tests.benchmarks.studies.signals import (
    DISCOUNT,
    Signal,
    discounted,
    entropy_of_the_visited_state,
    exact_kl_and_its_gradient,
    k1_in_the_reward,
    kl_of_the_visited_state,
    sequence_k2_in_the_loss,
    sequence_weighted_k3_in_the_loss,
    token_k2_in_the_loss,
    token_k3_in_the_loss,
    token_weighted_k3_in_the_loss,
)
from tests.benchmarks.studies.texts import draw, written_out

SEEDS = range(12)
Update = Callable[[float], fixed_points.Update]
STATE_BY_STATE: dict[str, tuple[Callable[[Signal], torch.Tensor], Update, float]] = {
    "k1 in the reward": (k1_in_the_reward, fixed_points.objective_itself, 1.0),
    "sequence k2": (sequence_k2_in_the_loss, fixed_points.objective_itself, 1.0),
    "exact KL": (exact_kl_and_its_gradient, fixed_points.objective_itself, 1.0),
    "discount": (discounted, fixed_points.objective_itself, DISCOUNT),
    "entropy bonus": (entropy_of_the_visited_state, fixed_points.entropy_bonus, 1.0),
    "local KL": (kl_of_the_visited_state, fixed_points.local_kl, 1.0),
    "token k2": (token_k2_in_the_loss, fixed_points.local_kl, 1.0),
    "sequence k3, weighted": (sequence_weighted_k3_in_the_loss, fixed_points.objective_itself, 1.0),
    "token k3, weighted": (token_weighted_k3_in_the_loss, fixed_points.local_kl, 1.0),
    "token k3": (token_k3_in_the_loss, fixed_points.local_forward_kl, 1.0),
}


@pytest.mark.parametrize("name", STATE_BY_STATE)
@pytest.mark.parametrize("terminal", [False, True])
def test_the_update_vanishes_at_the_fixed_point_and_nowhere_near(name: str, terminal: bool) -> None:
    signal_of, update, discount = STATE_BY_STATE[name]
    for seed in SEEDS:
        task = draw(seed, terminal=terminal)
        texts = written_out(task)
        policy: TablePolicy = backward(task.problem, update(task.kl_coef), discount=discount)
        rows = policy.state_log_probs(texts.contexts, texts.states, texts.times)
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-12)
        signal = Signal(texts, rows, task)
        np.testing.assert_allclose(signal.gradient(signal_of(signal)), 0.0, atol=1e-9)
        aside = rows + np.random.default_rng(seed).normal(scale=0.1, size=rows.shape)
        near = Signal(texts, aside, task)
        assert np.abs(near.gradient(signal_of(near))).max() > 1e-4


@pytest.mark.parametrize(
    ("one", "other"),
    [(k1_in_the_reward, sequence_k2_in_the_loss), (k1_in_the_reward, exact_kl_and_its_gradient),
     (k1_in_the_reward, sequence_weighted_k3_in_the_loss),
     (kl_of_the_visited_state, token_k2_in_the_loss), (token_k2_in_the_loss, token_weighted_k3_in_the_loss)],
)  # fmt: skip
def test_signals_that_are_said_to_be_the_same_have_the_same_update_everywhere(
    one: Callable[[Signal], torch.Tensor], other: Callable[[Signal], torch.Tensor]
) -> None:
    for seed in SEEDS:
        task = draw(seed)
        texts = written_out(task)
        rows = np.random.default_rng(seed).normal(size=(len(texts.times), task.tokens))
        signal = Signal(texts, rows, task)
        np.testing.assert_allclose(signal.gradient(one(signal)), signal.gradient(other(signal)), atol=1e-10)
