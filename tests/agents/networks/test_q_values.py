"""Action values: what is asked of one token is what the policy has for all; pi0 goes on where it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.q_values import make_q_network
from klrl_envs.networks.q_values import soft_value

CASES = [
    pytest.param("DiagnosticGold-v0", 1, id="values"),
    pytest.param("DiagnosticGold-v0", 5, id="distributions"),
    pytest.param("DiagnosticReference-v0", 1, id="values-elsewhere"),
    pytest.param("Sentiment-v0", 1, id="values-heads"),
    pytest.param("Sentiment-v0", 5, id="distributions-heads"),
]


def made(task_id: str, atoms: int) -> tuple[Any, Any]:
    task = klrl_envs.make_task(task_id)
    torch.manual_seed(0)
    return task, make_q_network(task, "16-12-8", atoms)


@pytest.mark.parametrize(("task_id", "atoms"), CASES)
def test_a_value_is_the_log_ratio_and_the_soft_value(task_id: str, atoms: int) -> None:
    task, policy = made(task_id, atoms)
    for weight in policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.3)
    every = torch.arange(6)
    prompts = np.arange(6) % len(task.prompts.tokens)
    texts = policy.write(policy.engine(task, 6, 0), prompts, torch.Generator().manual_seed(0))
    values = soft_value(policy.taken(texts, every), policy.support)
    log_ratios = texts.log_ratios[texts.mask]
    assert log_ratios.abs().max() > 0.1
    found = log_ratios + policy.soft_values(texts, every)[texts.mask]
    torch.testing.assert_close(values, found, rtol=1e-3, atol=1e-3)
    # one gradient for all, of a network whose every weight counts
    gradients = torch.autograd.grad(values.sum(), policy.actor_weights())
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize(("task_id", "atoms"), CASES[:2] + CASES[3:])
def test_pi0_goes_on_where_it_is_told(task_id: str, atoms: int) -> None:
    task, policy = made(task_id, atoms)
    for weight in policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.3)
    count = 32
    prompts = np.arange(count) % len(task.prompts.tokens)
    switch = np.arange(count) % 4
    generator = torch.Generator().manual_seed(0)
    behind = np.arange(task.horizon) >= switch[:, None]
    texts = policy.write(policy.engine(task, count, 0), prompts, generator, by_reference=behind)
    own = torch.arange(texts.mask.shape[1]) < torch.as_tensor(switch)[:, None]
    assert texts.kl[~own].abs().max() < 1e-4 and texts.log_ratios[~own].abs().max() < 1e-4
    assert texts.kl[own & texts.mask].abs().max() > 0.01


@pytest.mark.parametrize("hidden", ["768-512", "a-b-c", "0-1-2", "8-8-8-8", "8--8-8"])
def test_hidden_layers_are_three_widths(hidden: str) -> None:
    with pytest.raises(ValueError, match="hidden must be three widths"):
        make_q_network(klrl_envs.make_task("DiagnosticGold-v0"), hidden)
