"""Whatever a language model writes, reads and learns stays on its device, checked without one.

Tensors without numbers stand for those of an accelerator: mixing them with the CPU's fails, and so does
asking for a number, for which a program would wait. How many steps were taken is the one number that reading
asks for, and it is left open here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from agents.networks.language_model import NanoPolicy
from agents.networks.make import Trained, make_network
from agents.networks.writing import Texts, WrittenTexts, up_to_the_end
from tests.agents.networks.models import nano_reference, text_task, tiny_nano

ELSEWHERE = torch.device("meta")


def moved(policy: NanoPolicy) -> NanoPolicy:
    """A policy whose weights lie elsewhere."""
    for module in policy.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(
                module, name, nn.Parameter(torch.empty(weight.shape, device=ELSEWHERE), weight.requires_grad)
            )
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=ELSEWHERE))
    return policy


class Elsewhere:
    """Stands for a generator, which no tensor without numbers has."""

    device = ELSEWHERE


def written(policy: NanoPolicy, count: int) -> Texts:
    """Texts that a policy writes to the first prompt."""
    task = policy.task
    prompts = np.zeros(count, dtype=np.int64)
    generator: Any = Elsewhere()
    actions, log_probs = policy.written(prompts, generator)
    assert actions.device == log_probs.device == ELSEWHERE
    return Texts(
        torch.as_tensor(task.padded_prompts[prompts], device=ELSEWHERE),
        torch.as_tensor(task.prompts.lengths[prompts], device=ELSEWHERE),
        actions, log_probs, up_to_the_end(actions, 0), task.pad,
    )  # fmt: skip


@pytest.mark.parametrize("trained", [Trained("all"), Trained("lora", rank=2, alpha=4)])
def test_texts_are_written_read_and_learnt_from_on_one_device(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, generator, device: torch.empty(*size, device=device))
    policy = make_network(text_task(nano_reference(tiny_nano()), horizon=5), critic=True, trained=trained)
    assert isinstance(policy, NanoPolicy)
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        texts = written(moved(policy), 8)
        reference, rows = policy.taken(texts, reference=True, keep=True)
        hidden, kl = policy.read_again(texts, rows)
        trajectories = WrittenTexts(
            inputs=hidden, rows=rows[..., :0], tokens=texts.whole(), first=texts.first, actions=texts.actions,
            mask=texts.mask, rewards=torch.zeros_like(kl), log_ratios=texts.log_probs - reference,
            log_probs=texts.log_probs, kl=kl, base=torch.zeros_like(kl), texts=[], metrics={},
        )  # fmt: skip
        every = torch.arange(8, device=ELSEWHERE)
        log_probs, _ = policy.scores(trajectories, every)
        values = policy.values(trajectories, every)
        loss = (values - kl).square().mean() - (log_probs * trajectories.log_ratios).sum()
        weights = [*policy.actor_weights(), *policy.critic_weights()]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.actor_weights(), 1.0)
        torch.optim.Adam(policy.actor_weights()).step()
        assert all(weight.grad is not None and weight.grad.device == ELSEWHERE for weight in weights)


def test_the_check_finds_what_it_is_for() -> None:
    with FakeTensorMode():
        here, there = torch.zeros(3), torch.zeros(3, device=ELSEWHERE)
        with pytest.raises(RuntimeError, match="same device"):
            _ = here + there
        with pytest.raises(DataDependentOutputException):
            float(there.sum())
