"""bfloat16 is where a gradient is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.networks.make import Trained, make_network
from klrl_envs.networks import half_precision
from klrl_envs.networks.half_precision import in_bfloat16
from tests.agents.networks.models import nano_reference, text_task, tiny_nano

CPU = torch.device("cpu")


def product(size: int = 64) -> torch.Tensor:
    numbers = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    with in_bfloat16(CPU):
        return numbers @ numbers


def test_the_cpu_is_left_alone() -> None:
    assert product().dtype == torch.float32


def test_what_is_only_read_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "DEVICES", ("cpu",))
    assert product().dtype == torch.bfloat16
    with torch.no_grad():
        assert product().dtype == torch.float32


@pytest.mark.parametrize("trained", [Trained("all"), Trained("heads")])
def test_a_policy_is_scored_alike_on_every_device(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """With bfloat16 where a GPU has it, texts are written and scored as on the CPU; gradients differ."""
    task = text_task(nano_reference(tiny_nano()), horizon=5, prompts=((1, 2), (3, 4)))
    found = []
    for devices in ((), ("cpu",)):
        monkeypatch.setattr(half_precision, "DEVICES", devices)
        torch.manual_seed(0)
        policy = make_network(task, critic=True, trained=trained)
        with torch.no_grad():
            for weight in policy.actor_weights():
                weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        texts = policy.write(policy.engine(task, 12, 0), np.arange(12) % 2, torch.Generator().manual_seed(0))
        scored, _ = policy.scores(texts, torch.arange(12))
        found.append((texts, scored.detach()))
    (one, exact), (other, half) = found
    assert torch.equal(one.actions, other.actions)
    for name in ("log_probs", "log_ratios", "kl", "inputs"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-6)
    assert 1e-4 < (exact - half).abs().max() < 0.3
