"""Texts of somebody else: every policy reads what it is given as it reads what it has written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.make import Trained, make_network

CASES = [
    pytest.param("Keywords-v0", {}, id="state"),
    pytest.param("Arithmetic-v0", {}, id="state-prompts"),
    pytest.param("Keywords-v0", {"observe": "tokens"}, id="tokens"),
    pytest.param("Sentiment-v0", {}, id="heads"),
    pytest.param("Sentiment-v0", {"critic": False}, id="heads-no-critic"),
    pytest.param("Sentiment-v0", {"trained": Trained("all")}, id="all"),
    pytest.param("Sentiment-v0", {"trained": Trained("lora"), "critic": False}, id="lora"),
]
FIELDS = ("tokens", "first", "mask", "rewards", "log_ratios", "log_probs", "kl")


@pytest.mark.parametrize(("task_id", "settings"), CASES)
def test_a_text_that_is_given_scores_as_one_that_is_written(task_id: str, settings: dict[str, Any]) -> None:
    task = klrl_envs.make_task(task_id)
    torch.manual_seed(0)
    policy = make_network(task, **settings)
    for weight in policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.05) if weight.dim() < 2 else weight.data.mul_(1.1)
    prompts = np.arange(6) % len(task.prompts.tokens)
    generator = torch.Generator().manual_seed(1)
    written = policy.write(policy.engine(task, 6, 0), prompts, generator)
    given = np.where(written.mask, written.actions, -1 % task.vocab_size)
    read = policy.write(policy.engine(task, 6, 0), prompts, generator, given)
    for name in FIELDS:
        wanted, found = getattr(written, name), getattr(read, name)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, msg=name)
    assert read.texts == written.texts
    with torch.no_grad():
        scored, _ = policy.scores(read, torch.arange(6))
    torch.testing.assert_close(scored, written.log_probs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("task_id", "settings"),
    [
        pytest.param("Arithmetic-v0", {}, id="state"),
        pytest.param("Brackets-v0", {"observe": "tokens"}, id="tokens"),
        pytest.param("WordProblems-v0", {}, id="heads"),
        pytest.param("WordProblems-v0", {"trained": Trained("lora"), "critic": False}, id="lora"),
    ],
)
def test_a_greedy_text_has_the_likeliest_tokens(task_id: str, settings: dict[str, Any]) -> None:
    """Of all tokens in its place none is likelier, after what it has written before."""
    task = klrl_envs.make_task(task_id)
    torch.manual_seed(0)
    policy = make_network(task, **settings)
    for weight in policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.05) if weight.dim() < 2 else weight.data.mul_(1.1)

    def written(lanes: int, given: Any = None) -> Any:
        prompts, generator = np.zeros(lanes, dtype=np.int64), torch.Generator().manual_seed(lanes)
        return policy.write(policy.engine(task, lanes, 0), prompts, generator, given, greedy=given is None)

    greedy = written(1)
    torch.testing.assert_close(written(2).actions, greedy.actions.expand(2, -1))
    for step in (0, 1):
        assert greedy.mask[0, step]
        changed = np.repeat(greedy.actions.numpy(), task.vocab_size, axis=0)
        changed[:, step] = np.arange(task.vocab_size)
        found = written(task.vocab_size, changed).log_probs[:, step]
        torch.testing.assert_close(found.exp().sum(), torch.tensor(1.0), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.max(), greedy.log_probs[0, step], rtol=1e-3, atol=1e-3)
