"""PPO: its gradient and its advantages, where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agents.networks.categorical import draw
from agents.ppo import PPO, PPOArguments, advantages_of
from klrl_envs import Engine
from klrl_envs.optima.dynamic_programme import solve
from tests.agents.tiny import OptimalResidual, exact_objective, gradient_of, tilted_policy, tiny_task


def ppo_gradient(ppo: PPO, weights: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean gradient of the loss before the first step, over 12 batches, and its standard error."""
    estimates = []
    for _ in range(12):
        trajectories = ppo.write()
        advantages, _ = ppo.estimates(trajectories)
        loss, _ = ppo.loss(trajectories, torch.arange(len(trajectories.mask)), advantages)
        gradients = torch.autograd.grad(loss, weights)
        estimates.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5


def test_ppo_gradient_is_unbiased_at_the_first_step() -> None:
    """The exact KL in the return and its analytic gradient make the objective's gradient together."""
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    args = PPOArguments(batch=4096, minibatch=4096, gae_lambda=1.0)
    ppo = PPO(args, task, torch.device("cpu"))
    ppo.policy = policy
    mean, error = ppo_gradient(ppo, list(policy.actor.parameters()))
    mean = -mean  # of the loss, which is -J / kl_coef
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_advantages_are_the_full_return_at_lambda_one_and_one_step_at_zero() -> None:
    paid = torch.tensor([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    values = torch.tensor([[0.5, 1.0, 1.5], [0.1, 0.2, 9.0]])
    full = advantages_of(paid, values, mask, 1.0)
    expected = torch.tensor([[6 - 0.5, 5 - 1.0, 3 - 1.5], [6 - 0.1, 5 - 0.2, 0.0]])
    torch.testing.assert_close(full, expected)
    one_step = advantages_of(paid, values, mask, 0.0)
    torch.testing.assert_close(one_step[0], torch.tensor([1 + 1.0 - 0.5, 2 + 1.5 - 1.0, 3 - 1.5]))


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
def test_no_policy_gradient_at_the_optimum(gae_lambda: float) -> None:
    """At pi* advantages and the gradient of the KL cancel for every lambda: the critic is right there."""
    task = tiny_task()
    solution = solve(task.reference, task.automaton, horizon=2, end_token=0, kl_coef=task.kl_coef)
    args = PPOArguments(batch=4096, minibatch=4096, gae_lambda=gae_lambda)
    ppo = PPO(args, task, torch.device("cpu"))
    table = OptimalResidual(task, solution)
    ppo.policy.actor = table  # type: ignore[assignment]
    mean, error = ppo_gradient(ppo, [table.table])
    assert (mean.abs() < 5 * error + 1e-6).all()


def test_advantages_vanish_at_the_optimum() -> None:
    """With pi* and its critic every step is worth what was expected (path consistency)."""
    task = tiny_task()
    solution = solve(task.reference, task.automaton, horizon=2, end_token=0, kl_coef=task.kl_coef)
    engine = Engine(task, 256)
    engine.seed_lanes(np.random.default_rng(0))
    engine.reset(np.arange(256))
    columns = []
    while not engine.done.all():
        active = ~engine.done
        states = engine.context, engine.state, np.minimum(engine.time, 1)
        rows = torch.from_numpy(solution.log_probs(*states))
        tokens, log_prob = draw(rows, torch.Generator().manual_seed(len(columns)))
        value = solution.values(*states) / task.kl_coef
        result: Any = engine.step(tokens.numpy(), active)
        paid = (
            result.reward / task.kl_coef - np.where(active, log_prob.numpy(), 0) + result.reference_log_prob
        )
        columns.append((paid, value, active))
    paid, values, mask = (torch.from_numpy(np.stack(parts, 1)) for parts in zip(*columns))
    for gae_lambda in (0.0, 0.95, 1.0):
        assert advantages_of(paid, values, mask, gae_lambda).abs().max() < 1e-9
