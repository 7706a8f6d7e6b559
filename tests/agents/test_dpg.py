"""Distributional policy gradient: its expected gradient is that of the forward KL, whoever writes."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from agents.dpg import DPG, DPGArguments, Normaliser
from klrl_envs.optima.optimum import optimum_of
from tests.agents.tiny import forward_kl, gradient_of, reverse_kl, tilted_policy, tiny_task


def learner(batch: int = 4096) -> DPG:
    """Whose policy and behaviour are away from the reference, and from each other."""
    dpg = DPG(DPGArguments(batch=batch, group=batch), tiny_task(), torch.device("cpu"))
    dpg.policy = tilted_policy(dpg.task.exact)  # type: ignore[arg-type]
    dpg.behaviour = copy.deepcopy(dpg.policy)
    with torch.no_grad():
        for weight in dpg.behaviour.actor_weights():
            weight.mul_(0.5)
    return dpg


def test_its_gradient_is_that_of_the_forward_kl() -> None:
    dpg = learner()
    forward_kl(dpg.policy).backward()  # type: ignore[arg-type]
    exact = gradient_of(dpg.policy)  # type: ignore[arg-type]
    log_z = optimum_of(dpg.task).value / dpg.task.kl_coef
    estimates = []
    for _ in range(12):
        written, _ = dpg.write()
        dpg.policy.zero_grad()
        moved = dpg.descend(written, (written.paid(dpg.task.kl_coef).sum(1) - log_z).exp())
        assert moved.abs().max() > 0.1
        estimates.append(gradient_of(dpg.policy))  # type: ignore[arg-type]
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_nothing_moves_where_every_text_weighs_the_same() -> None:
    dpg = learner(64)
    dpg.adopt()
    texts, _ = dpg.write()
    dpg.descend(texts, torch.ones(64))
    assert gradient_of(dpg.policy).abs().max() < 1e-6  # type: ignore[arg-type]


def test_z_is_the_mean_of_all_weights_until_there_are_many() -> None:
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(5, 4))
    normaliser = Normaliser(3, memory=16)
    for number, group in enumerate(groups[:4]):
        found = normaliser.update(1, group)
        assert found == pytest.approx(math.log(np.exp(groups[: number + 1]).mean()))
    assert normaliser.update(2, groups[0]) == pytest.approx(math.log(np.exp(groups[0]).mean()))
    expected = 0.75 * np.exp(groups[:4]).mean() + 0.25 * np.exp(groups[4]).mean()
    assert normaliser.update(1, groups[4]) == pytest.approx(math.log(expected))


def test_z_comes_to_that_of_the_task() -> None:
    dpg = learner()
    for _ in range(4):
        _, weights = dpg.write()
    assert weights.mean().item() == pytest.approx(1, abs=0.05)
    log_z = optimum_of(dpg.task).value / dpg.task.kl_coef
    assert dpg.normaliser.state()["log_z"][0] == pytest.approx(log_z, abs=0.05)


@pytest.mark.parametrize("better", [False, True])
def test_the_behaviour_follows_a_policy_that_is_better_and_no_other(better: bool) -> None:
    torch.manual_seed(0)
    dpg = DPG(DPGArguments(batch=4096, group=4096), tiny_task(), torch.device("cpu"))
    dpg.optimizer = torch.optim.SGD(dpg.weights, lr=0.0)
    last: Any = dpg.policy
    with torch.no_grad():  # token 2 pays
        last.actor[-1].bias[2] += 0.5 if better else -0.5
    assert dpg.update(*dpg.write(), 0.5)["adopted"] is better
    behaviour: Any = dpg.behaviour
    assert bool(behaviour.actor[-1].bias.any()) is better


def test_it_comes_to_the_optimum() -> None:
    torch.manual_seed(0)
    dpg = DPG(DPGArguments(batch=64, group=64, learning_rate=1e-2), tiny_task(), torch.device("cpu"))
    first = reverse_kl(dpg.policy)  # type: ignore[arg-type]
    for update in range(300):
        dpg.update(*dpg.write(), update / 300)
    assert reverse_kl(dpg.policy) < 0.02 * first  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings, message",
    [({"batch": 8, "group": 3}, "group must divide batch 8"), ({"memory": 0}, "memory must")],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DPG(DPGArguments(**settings), tiny_task(), torch.device("cpu"))  # type: ignore[arg-type]
