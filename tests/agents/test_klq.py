"""KLQ: its gradient is the objective's, and at the optimum there is nothing to correct."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.klq import descend, surplus_of, targets_of
from tests.agents.tiny import (
    exact_objective,
    expected_gradient,
    gradient_of,
    optimal_policy,
    random_critic,
    tilted_policy,
    tiny_task,
    weighted_texts,
)


def test_the_first_gradient_is_that_of_the_objective_whatever_the_critic_says() -> None:
    task, policy = tiny_task(), tilted_policy(tiny_task())
    random_critic(policy)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    texts, probabilities = weighted_texts(policy)
    softened = policy.softened(texts)
    targets = targets_of(policy, softened, task.kl_coef, 1.0)
    found = expected_gradient(
        policy, probabilities, lambda index: descend(policy, softened, targets, index, 0)
    )
    torch.testing.assert_close(found, -exact, rtol=1e-3, atol=1e-5)
    assert exact.norm() > 0.1


@pytest.mark.parametrize("return_lambda", [0.0, 0.5, 1.0])
def test_at_the_optimum_every_text_has_the_values_that_it_aims_at(return_lambda: float) -> None:
    task = tiny_task()
    policy = optimal_policy(task)
    random_critic(policy)
    texts = policy.softened(weighted_texts(policy)[0])
    off = surplus_of(texts.paid(task.kl_coef), policy.values(texts, torch.arange(7)), texts.mask, 0.0)
    assert off.abs().max() > 0.1  # of a wrong critic
    torch.nn.init.zeros_(policy.critic[-1].weight)  # type: ignore[arg-type]
    values = policy.values(texts, torch.arange(7))
    surplus = surplus_of(texts.paid(task.kl_coef), values, texts.mask, return_lambda)
    assert surplus.abs().max() < 1e-5


def test_surplus_is_the_whole_return_at_lambda_one_and_one_step_at_zero() -> None:
    rng = np.random.default_rng(0)
    lengths = torch.tensor([4, 2])
    mask = torch.arange(4) < lengths[:, None]
    paid = torch.as_tensor(rng.normal(size=(2, 4))) * mask
    values = torch.as_tensor(rng.normal(size=(2, 4)))
    for row, length in enumerate(lengths.tolist()):
        for step in range(length):
            after = values[row, step + 1] if step + 1 < length else 0.0
            whole = surplus_of(paid, values, mask, 1.0)[row, step]
            torch.testing.assert_close(whole, paid[row, step:].sum() - values[row, step])
            one = surplus_of(paid, values, mask, 0.0)[row, step]
            torch.testing.assert_close(one, paid[row, step] + after - values[row, step])
