"""Preferences: labels are Bradley and Terry's, and the losses' fixed points are where the header says."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.dpo import DPOArguments, PreferenceLearner, compare, preference_loss
from tests.agents.tiny import reverse_kl, tiny_task

REWARDS = torch.tensor([0.0, 0.5, 1.0, 0.2])


def learner(**settings: Any) -> PreferenceLearner:
    torch.manual_seed(0)
    return PreferenceLearner(DPOArguments(**settings), tiny_task(), torch.device("cpu"))


def labels(tau: float, count: int) -> torch.Tensor:
    return compare(REWARDS.repeat(count, 1), tau, torch.Generator().manual_seed(0))


def test_each_pair_is_compared_once_with_the_odds_of_bradley_and_terry() -> None:
    tau, count = 0.4, 20_000
    wins = labels(tau, count)
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    assert (wins ^ wins.transpose(1, 2))[:, off_diagonal].all() and not wins[:, ~off_diagonal].any()
    expected = ((REWARDS[:, None] - REWARDS) / tau).sigmoid()
    error = (expected * (1 - expected) / count).sqrt()
    assert ((wins.float().mean(0) - expected).abs() < 5 * error)[off_diagonal].all()


def mean_gradient(log_ratios: torch.Tensor, temperature: float, kl_coef: float, kind: str) -> torch.Tensor:
    """Of the loss in the log-ratios [4], over many labels."""
    log_ratios = log_ratios.clone().requires_grad_()
    wins = labels(temperature * kl_coef, 50_000)
    preference_loss(log_ratios.expand(50_000, 4), wins, temperature, kind).backward()
    assert log_ratios.grad is not None
    return log_ratios.grad


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_dpo_ends_where_log_ratios_are_rewards_by_the_coefficient(temperature: float) -> None:
    kl_coef = 0.25
    assert mean_gradient(REWARDS / kl_coef, temperature, kl_coef, "dpo").abs().max() < 0.004
    for other in (0 * REWARDS, 0.8 * REWARDS / kl_coef, 1.25 * REWARDS / kl_coef):
        gradient = mean_gradient(other, temperature, kl_coef, "dpo")
        assert gradient.abs().max() > 0.008
        step = -gradient @ (REWARDS / kl_coef - other)
        assert step > 0, "towards the optimum"


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_ipo_ends_where_log_ratios_are_chances_to_win(temperature: float) -> None:
    """Against texts of these four, each as likely."""
    kl_coef = 0.25
    chance = ((REWARDS[:, None] - REWARDS) / (temperature * kl_coef)).sigmoid().mean(1)
    assert mean_gradient(4 * temperature * chance, temperature, kl_coef, "ipo").abs().max() < 0.006
    assert mean_gradient(REWARDS / kl_coef, temperature, kl_coef, "ipo").abs().max() > 0.02


def test_ipo_is_pi_star_to_first_order() -> None:
    """With a large tau 4 tau p / kl_coef differ as r / kl_coef do."""
    kl_coef, temperature = 0.25, 100.0
    chance = ((REWARDS[:, None] - REWARDS).double() / (temperature * kl_coef)).sigmoid().mean(1)
    ends = 4 * temperature * chance
    torch.testing.assert_close(ends - ends[0], (REWARDS - REWARDS[0]).double() / kl_coef, atol=1e-3, rtol=0)


def test_a_temperature_leaves_the_size_of_the_first_gradient() -> None:
    """At pi0 a pair pulls by one half (DPO) or one (IPO), whatever tau is."""
    wins = torch.tensor([[[False, True], [False, False]]])
    for kind, expected in (("dpo", 0.5), ("ipo", 1.0)):
        for temperature in (0.3, 1.0, 5.0):
            log_ratios = torch.zeros((1, 2), requires_grad=True)
            preference_loss(log_ratios, wins, temperature, kind).backward()
            assert log_ratios.grad is not None
            torch.testing.assert_close(log_ratios.grad, torch.tensor([[-expected, expected]]))


@pytest.mark.parametrize("online", [True, False])
def test_it_comes_to_the_optimum(online: bool) -> None:
    preferences = learner(online=online, batch=256, group=8, minibatch=256, epochs=1, learning_rate=1e-2)
    first = reverse_kl(preferences.policy)  # type: ignore[arg-type]
    for update in range(300):
        preferences.update(*preferences.write(), update / 300)
    assert reverse_kl(preferences.policy) < 0.03 * first  # type: ignore[arg-type]


def test_offline_pairs_are_those_of_the_reference() -> None:
    preferences = learner(online=False, batch=32, group=8, minibatch=32, epochs=1)
    for update in range(3):
        texts, wins = preferences.write()
        assert texts.log_ratios.abs().max() < 1e-6
        preferences.update(texts, wins, update / 3)
    assert reverse_kl(preferences.policy) != pytest.approx(reverse_kl(preferences.writer))  # type: ignore[arg-type]


def test_parts_add_up_to_the_whole() -> None:
    found = []
    for micro_batch in (0, 8):
        preferences = learner(batch=32, group=4, minibatch=32, epochs=1, micro_batch=micro_batch)
        preferences.optimizer = torch.optim.SGD(preferences.weights, lr=0.0)
        preferences.update(*preferences.write(), 0.5)
        found.append(torch.cat([weight.grad.flatten() for weight in preferences.weights]))  # type: ignore[union-attr]
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"batch": 8, "minibatch": 8, "group": 3}, "group must be at least 2 and divide minibatch 8"),
        ({"loss": "mse"}, "loss must be one of"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learner(**settings)
