"""Exact directions: against finite differences, and found again in the signals that are made of them."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals import random_task, reinforce
from klrl_envs.signals.calls import calls_of
from klrl_envs.signals.directions import PRICES, Followed, followed, forward_kl, kl, posterior_covered, reward
from klrl_envs.signals.expected import Signal
from klrl_envs.signals.policy import log_law, optimal, random_policy
from tests.signals import losses

TASK = random_task(seed=2)
BEFORE = log_law(TASK, TASK.reference)


def expected_reward(after: FloatArray) -> float:
    return float((np.exp(after) * TASK.rewards).sum(axis=1).mean())


def divergence(after: FloatArray) -> float:
    return float((np.exp(after) * (after - BEFORE)).sum(axis=1).mean())


def forward(after: FloatArray) -> float:
    return float((np.exp(BEFORE) * (BEFORE - after)).sum(axis=1).mean())


def covering(after: FloatArray) -> float:
    best = log_law(TASK, optimal(TASK))
    return -float((np.exp(best) * (best - after)).sum(axis=1).mean())


@pytest.mark.parametrize(
    ("direction", "value"),
    [(reward, expected_reward), (kl, divergence), (forward_kl, forward), (posterior_covered, covering)],
)
def test_a_direction_is_the_slope_of_its_value(direction, value) -> None:
    rows, step = random_policy(TASK, 1), 1e-6
    found = direction(TASK, rows)
    for place in [(0, 0, 0), (1, 1, 2), (0, 2, 1)]:
        values = []
        for sign in (1, -1):
            moved = rows.copy()
            moved[place] += sign * step
            moved -= np.log(np.exp(moved).sum(axis=2, keepdims=True))
            values.append(value(log_law(TASK, moved)))
        assert found[place] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (reinforce, "E[r] - kl_coef KL(pi || pi0)"),
        (losses.sequence_k2, "E[r] - kl_coef KL(pi || pi0)"),
        (losses.reward_alone, "E[r]"),
        (losses.k1_in_the_loss, "E[r]"),
        (losses.kl_detached_in_the_loss, "E[r]"),
        (losses.sequence_k3, "E[r] - kl_coef KL(pi0 || pi)"),
        (losses.sequence_k3_in_the_reward, "E[r] - kl_coef KL(pi || pi0) + kl_coef KL(pi0 || pi)"),
        (losses.token_k2, "E[r] - kl_coef the KL(pi || pi0) of visited states"),
        (losses.token_k3_weighted, "E[r] - kl_coef the KL(pi || pi0) of visited states"),
        (losses.exact_kl_of_visited_states, "E[r] - kl_coef the KL(pi || pi0) of visited states"),
        (losses.token_k3, "E[r] - kl_coef the KL(pi0 || pi) of visited states"),
        (losses.wrong_sign, "E[r] + kl_coef KL(pi || pi0)"),
        (losses.uphill, "the opposite of E[r] - kl_coef KL(pi || pi0)"),
        (losses.kl_with_its_gradient, None),
        (losses.coefficient_squared, "E[r] - 0.3 kl_coef KL(pi || pi0)"),
        (losses.normalised_by_the_group, None),
        (losses.mask_off_by_one, None),
    ],
)
def test_what_a_signal_follows_is_told(loss, told: str | None) -> None:
    policies = [TASK.reference, optimal(TASK, 0.5), random_policy(TASK, 1), random_policy(TASK, 2)]
    each = Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, 2, 1))
    found = followed(TASK, policies, [-each.gradients(rows).mean for rows in policies])
    assert (None if found is None else str(found)) == told


def test_the_scale_is_told_apart_from_the_terms() -> None:
    policies = [random_policy(TASK, 1), random_policy(TASK, 2)]
    mixed = [
        0.5 * (reward(TASK, rows) - 2 * TASK.kl_coef * PRICES["KL(pi0 || pi)"](TASK, rows))
        for rows in policies
    ]
    found = followed(TASK, policies, mixed)
    assert found is not None and found.scale == pytest.approx(0.5)
    assert str(found) == "E[r] - 2 kl_coef KL(pi0 || pi)"
    assert followed(TASK, policies, [0 * one for one in mixed]) is None
    alone = followed(TASK, policies, [-TASK.kl_coef * kl(TASK, rows) for rows in policies])
    assert alone is not None and str(alone) == "- kl_coef KL(pi || pi0)"
    assert str(Followed(-1.0, 1.0, {})) == "the opposite of E[r]"
