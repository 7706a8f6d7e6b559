"""Twists by contrast: the policy descends the forward KL, c comes to the value, and nothing moves at pi*."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from agents.smc import SMCArguments, TwistLearner, contrast
from klrl_envs.optima.dynamic_programme import solve
from tests.agents.tiny import forward_kl, gradient_of, reverse_kl, tilted_policy, tiny_task


def learner(batch: int, **settings: float) -> TwistLearner:
    torch.manual_seed(0)
    args = SMCArguments(batch=batch, group=batch, **settings)  # type: ignore[arg-type]
    return TwistLearner(args, tiny_task(), torch.device("cpu"))


def test_counts_are_what_the_formula_says() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths, group = [3, 1, 2, 3, 3, 2], 3
    mask = torch.arange(3) < torch.tensor(lengths)[:, None]
    paid, sums = (torch.randn((6, 3), generator=generator) for _ in range(2))
    paid = paid * mask
    whole_by_step, begun_by_step = contrast(paid, sums, mask, group)
    found = whole_by_step - begun_by_step
    for text, length in enumerate(lengths):
        others = range(text // group * group, text // group * group + group)
        whole = [float(paid[other].sum().exp()) for other in others]
        for step in range(3):
            begun = [
                float((paid[other, :step].sum() + (sums[other, step] if step < lengths[other] else 0)).exp())
                for other in others
            ]
            place = text % group
            expected = group * (whole[place] / sum(whole) - begun[place] / sum(begun)) if step < length else 0
            assert found[text, step].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("twist_lambda", [0.0, 0.7, 1.0])
def test_no_step_counts_where_c_is_the_value_of_a_policy_that_is_the_optimum(twist_lambda: float) -> None:
    """There r / kl_coef - (log pi - log pi0) is what the value falls by, step by step."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 1])[:, None]
    values = torch.where(mask, torch.randn((4, 4), generator=generator), 0.0)
    values[:, 0] = 0.5
    paid = values - torch.nn.functional.pad(values[:, 1:], (0, 1))
    for level in (0.0, torch.tensor([3.0, -1.0, 2.0, 0.0])):
        ended = (~mask).any(0)
        sums = values + torch.where(ended, 0.0, torch.as_tensor(level))
        whole, begun = contrast(paid, sums, mask, 4, twist_lambda)
        assert (whole - begun).abs().max() < 1e-5
    whole, begun = contrast(paid + 0.1 * torch.randn(mask.shape), values, mask, 4, twist_lambda)
    assert (whole - begun).abs().max() > 0.01


@pytest.mark.parametrize("moved", [False, True])
def test_the_policy_descends_the_forward_kl_whatever_c_is_and_whoever_wrote(moved: bool) -> None:
    twists = learner(4096)
    writer = tilted_policy(twists.task.exact)  # type: ignore[arg-type]
    torch.nn.init.normal_(writer.critic[-1].weight)  # type: ignore[arg-type]
    policy = copy.deepcopy(writer)
    if moved:
        with torch.no_grad():
            for weight in policy.actor_weights():
                weight.mul_(0.5)
    forward_kl(policy).backward()
    exact = gradient_of(policy)
    estimates = []
    for _ in range(12):
        twists.policy = writer
        texts = twists.write()
        weights = twists.weigh(texts)
        twists.policy = policy
        policy.zero_grad()
        twists.descend(texts, *weights)
        estimates.append(gradient_of(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-3).all()  # the group's own mean costs about 1 / 4096
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_policy_and_twists_come_to_the_optimum() -> None:
    twists = learner(64, learning_rate=1e-2, critic_learning_rate=1e-2)
    task = twists.task.exact
    assert task is not None
    first = reverse_kl(twists.policy)  # type: ignore[arg-type]
    for update in range(300):
        twists.update(twists.write(), update / 300)
    assert reverse_kl(twists.policy) < 0.02 * first  # type: ignore[arg-type]
    # c of the texts that have begun with 1 and with 2, which differ by the value
    texts = twists.write()
    with torch.no_grad():
        sums = twists.sums(texts, torch.arange(64))[:, 1]
    found = [sums[texts.actions[:, 0] == token].mean().item() for token in (1, 2)]
    solution = solve(task.reference, task.automaton, horizon=2, end_token=0, kl_coef=task.kl_coef)
    states = np.array([task.automaton.transition[0, token] for token in (1, 2)])
    value = solution.values(np.array([1, 2]), states, np.ones(2, dtype=np.int64)) / task.kl_coef
    assert found[1] - found[0] == pytest.approx(value[1] - value[0], abs=0.15)
    assert abs(value[1] - value[0]) > 0.5


@pytest.mark.parametrize("settings", [{"batch": 8, "group": 3}, {"batch": 8, "group": 1}])
def test_settings_that_do_not_fit_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="group must be at least 2 and divide batch 8"):
        TwistLearner(SMCArguments(**settings), tiny_task(), torch.device("cpu"))  # type: ignore[arg-type]
