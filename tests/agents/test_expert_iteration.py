"""Imitation: weights are what the header says, and so are the fixed points."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agents.expert_iteration import ExpertArguments, Imitator, weights_of
from tests.agents.tiny import (
    every_text,
    forward_kl,
    gradient_of,
    optimal_log_probs,
    reverse_kl,
    text_log_probs,
    tilted_policy,
    tiny_task,
)


def learner(**settings: Any) -> Imitator:
    torch.manual_seed(0)
    return Imitator(ExpertArguments(**settings), tiny_task(), torch.device("cpu"))


def trained(updates: int = 300, **settings: Any) -> Imitator:
    imitator = learner(learning_rate=1e-2, **settings)
    for update in range(updates):
        imitator.update(*imitator.write(), update / updates)
    return imitator


def test_weights_are_shared_by_the_best_or_go_with_the_exponential() -> None:
    worth = torch.tensor([[1.0, 3.0, 2.0, 3.0], [0.5, 0.5, 0.5, 0.5], [0.0, -1.0, -2.0, 0.7]])
    best = torch.tensor([[0.0, 0.5, 0.0, 0.5], [0.0] * 4, [0.0, 0.0, 0.0, 1.0]])
    torch.testing.assert_close(weights_of(worth, "best"), best)
    tilted = worth.exp()
    torch.testing.assert_close(weights_of(worth, "weighted"), tilted / tilted.sum(1, keepdim=True))


@pytest.mark.parametrize("writer", ["policy", "reference"])
def test_weighted_and_penalised_its_gradient_is_that_of_the_forward_kl(writer: str) -> None:
    imitator = learner(imitate="weighted", writer=writer, batch=4096, group=4096, minibatch=4096)
    policy: Any = tilted_policy(imitator.task.exact)  # type: ignore[arg-type]
    imitator.policy, imitator.writer = policy, policy if writer == "policy" else imitator.writer
    forward_kl(policy).backward()
    exact = gradient_of(policy)
    estimates = []
    for _ in range(12):
        texts, weights = imitator.write()
        policy.zero_grad()
        imitator.imitate(texts, weights, torch.arange(4096))
        estimates.append(gradient_of(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-3).all()  # a group's own mean costs about 1 / 4096
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_the_best_of_n_are_drawn_as_the_best_of_n_of_pi0() -> None:
    count, n = 40_000, 4
    imitator = learner(writer="reference", batch=count, group=n, minibatch=count)
    texts, weights = imitator.write()
    policy: Any = imitator.policy
    reference = text_log_probs(policy).exp().detach()
    rewards = every_text(policy).rewards.sum(1)
    below = torch.stack([reference[rewards < reward].sum() for reward in rewards])
    same = torch.stack([reference[rewards == reward].sum() for reward in rewards])
    expected = ((below + same) ** n - below**n) * reference / same
    # a group whose texts all tie tells nothing, and is left out
    expected -= same ** (n - 1) * reference
    found = torch.zeros(7)
    places = {tuple(row): place for place, row in enumerate(every_text(policy).actions.tolist())}
    for actions, weight in zip(texts.actions.tolist(), weights.tolist(), strict=True):
        found[places[tuple(actions)]] += weight / count
    assert (found - expected).abs().max() < 5 * (0.25 / (count / n)) ** 0.5
    assert found.sum() < 1


def test_nothing_is_imitated_where_all_are_worth_the_same() -> None:
    assert not weights_of(torch.full((3, 4), 2.0) + 1e-6 * torch.randn((3, 4)), "best").any()


@pytest.mark.parametrize(
    "imitate, writer", [("best", "policy"), ("weighted", "policy"), ("weighted", "reference")]
)
def test_penalised_it_comes_to_the_optimum(imitate: str, writer: str) -> None:
    group = 4 if imitate == "best" else 64
    imitator = trained(imitate=imitate, writer=writer, batch=256, group=group, minibatch=256, epochs=1)
    policy: Any = imitator.policy
    assert reverse_kl(policy) < 0.06 * reverse_kl(learner().policy)  # type: ignore[arg-type]


def test_unpenalised_it_leaves_the_optimum_behind() -> None:
    policy: Any = trained(penalised=False, batch=256, group=4, minibatch=256, epochs=1).policy
    reward = (text_log_probs(policy).exp() @ every_text(policy).rewards.sum(1)).item()
    optimal = (optimal_log_probs(policy).exp() @ every_text(policy).rewards.sum(1)).item()
    assert reward > 0.97 > optimal + 0.1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"batch": 8, "minibatch": 8, "group": 3}, "group, at least 2, and minibatch must divide batch 8"),
        ({"imitate": "all"}, "imitate must be one of"),
        ({"writer": "me"}, "writer must be one of"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learner(**settings)
