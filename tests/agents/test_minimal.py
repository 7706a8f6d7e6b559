"""The example that people copy: its gradient is the objective's, and it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import klrl_envs
from agents import minimal
from klrl_envs.envs.vector_env import TokenVectorEnv
from tests.agents.tiny import SMALL_GRID, exact_objective, tiny_task

pytestmark = pytest.mark.slow

ENV_ID = "klrl/GridNavigationFeatures-v0"


def flat_gradient(policy: minimal.Policy) -> torch.Tensor:
    """Of the policy's weights, in a row."""
    return torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])


def test_its_gradient_is_unbiased() -> None:
    """Episodes of one and of two tokens, in lanes that begin anew meanwhile."""
    task = tiny_task()
    env: Any = TokenVectorEnv(task, 4096, features=True, autoreset_mode="NextStep")
    env.reset(seed=0)
    torch.manual_seed(3)
    policy = minimal.Policy(env.single_observation_space.shape[0], task.vocab_size, width=8)
    torch.nn.init.normal_(policy.residual[-1].weight, std=0.5)  # pyright: ignore[reportArgumentType]
    exact_objective(policy, task).backward()
    exact = flat_gradient(policy)
    estimates = []
    for _ in range(12):
        policy.zero_grad()
        minimal.loss_of(minimal.write(env, policy), task.kl_coef).backward()
        estimates.append(-flat_gradient(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_it_learns() -> None:
    policy = minimal.train(ENV_ID, seed=0, tokens=80_000, **SMALL_GRID)
    score = klrl_envs.evaluate(policy, ENV_ID, episodes=256, seed=0, **SMALL_GRID).score_estimate
    assert score is not None and 0.7 < score <= 1 + 1e-9


@pytest.mark.parametrize("env_id", ["klrl/GridNavigation-v0", "klrl/SentimentFeatures-v0"])
def test_it_says_what_it_is_for(env_id: str) -> None:
    with pytest.raises(ValueError, match="features id of an exact environment"):
        minimal.train(env_id, seed=0, tokens=100)
