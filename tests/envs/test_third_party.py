"""Scripts of other people's making: checkers, and the shape of single-file agents, on the features ids."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import klrl_envs  # noqa: F401  (registers the ids)
from klrl_envs.registry import REGISTRY

IDS = [row.gym_features_id for row in REGISTRY]
GRID = "klrl/GridNavigationFeatures-v0"


@pytest.mark.parametrize("env_id", IDS)
def test_sb3_finds_nothing_to_warn_of(env_id: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.make(env_id).unwrapped, warn=True)


def layer(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear


def test_a_cleanrl_style_ppo_runs() -> None:
    """One file, sync vectorisation, statistics from ``RecordEpisodeStatistics``: nothing of klrl is known."""
    torch.manual_seed(0)
    lanes, steps = 4, 64

    def thunk() -> gym.Env[Any, Any]:
        return gym.wrappers.RecordEpisodeStatistics(gym.make(GRID))

    envs = gym.vector.SyncVectorEnv([thunk] * lanes)
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    size = int(np.prod(envs.single_observation_space.shape))  # type: ignore[arg-type]
    actor = nn.Sequential(layer(size, 32), nn.Tanh(), layer(32, int(envs.single_action_space.n), 0.01))
    critic = nn.Sequential(layer(size, 32), nn.Tanh(), layer(32, 1, 1.0))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3, eps=1e-5)
    observation = torch.as_tensor(envs.reset(seed=1)[0])
    done = torch.zeros(lanes)
    episodes = 0
    for _ in range(3):
        stored: list[tuple[torch.Tensor, ...]] = []
        for _ in range(steps):
            with torch.no_grad():
                distribution = torch.distributions.Categorical(logits=actor(observation))
                action = distribution.sample()
                value = critic(observation).flatten()
            following, reward, terminated, truncated, infos = envs.step(action.numpy())
            paid = torch.as_tensor(reward, dtype=torch.float32)
            stored.append((observation, action, distribution.log_prob(action), paid, done, value))
            observation = torch.as_tensor(following)
            done = torch.as_tensor(np.logical_or(terminated, truncated), dtype=torch.float32)
            episodes += int(np.sum(infos.get("_episode", 0)))
        b_obs, b_action, b_log_prob, b_reward, b_done, b_value = (torch.stack(part) for part in zip(*stored))
        with torch.no_grad():
            next_value, running = critic(observation).flatten(), torch.zeros(lanes)
            advantages = torch.zeros_like(b_reward)
            for t in reversed(range(steps)):
                alive = 1 - (done if t == steps - 1 else b_done[t + 1])
                after = next_value if t == steps - 1 else b_value[t + 1]
                running = b_reward[t] + after * alive - b_value[t] + 0.95 * alive * running
                advantages[t] = running
        targets = advantages + b_value
        for _ in range(2):
            distribution = torch.distributions.Categorical(logits=actor(b_obs))
            ratio = (distribution.log_prob(b_action) - b_log_prob).exp()
            surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
            error = (critic(b_obs).squeeze(-1) - targets).square().mean()
            loss = 1e-3 * error - surrogate
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)
    assert episodes > 0


def test_a_cleanrl_style_dqn_runs() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    env = gym.wrappers.RecordEpisodeStatistics(gym.make(GRID))
    assert isinstance(env.action_space, gym.spaces.Discrete)
    size, count = int(np.prod(env.observation_space.shape)), int(env.action_space.n)  # type: ignore[arg-type]
    online = nn.Sequential(nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, count))
    target = nn.Sequential(nn.Linear(size, 32), nn.ReLU(), nn.Linear(32, count))
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    replay: list[tuple[Any, ...]] = []
    observation, _ = env.reset(seed=1)
    returns = []
    for step in range(600):
        epsilon = max(1.0 - step / 300, 0.1)
        if rng.random() < epsilon:
            action = env.action_space.sample()
        else:
            action = int(online(torch.as_tensor(observation)).argmax())
        following, reward, terminated, truncated, info = env.step(action)
        replay.append((observation, action, float(reward), following, float(terminated)))
        observation = following
        if terminated or truncated:
            returns.append(info["episode"]["r"])
            observation, _ = env.reset()
        if step >= 100 and step % 4 == 0:
            drawn = [replay[i] for i in rng.integers(0, len(replay), 32)]
            seen, taken, paid, after, ended = (np.array(part) for part in zip(*drawn))
            with torch.no_grad():
                best = target(torch.as_tensor(after)).max(dim=1).values
                wanted = torch.as_tensor(paid, dtype=torch.float32) + best * (
                    1 - torch.as_tensor(ended).float()
                )
            held = online(torch.as_tensor(seen)).gather(1, torch.as_tensor(taken)[:, None]).squeeze(1)
            loss = nn.functional.mse_loss(held, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)
        if step % 100 == 0:
            target.load_state_dict(online.state_dict())
    assert returns
