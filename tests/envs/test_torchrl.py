"""TorchRL plays the environments as they are."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs  # noqa: F401  (registers the ids)
from klrl_envs.wrappers import VectorKLReward

pytest.importorskip("torchrl", reason="TorchRL is not installed: pip install torchrl")

from torchrl.envs.libs.gym import GymEnv, GymWrapper
from torchrl.envs.utils import check_env_specs


@pytest.mark.parametrize(
    "env_id", ["klrl/GridNavigation-v0", "klrl/KeywordsFeatures-v0", "klrl/Sentiment-v0"]
)
def test_specs_and_a_rollout(env_id: str) -> None:
    env: Any = GymEnv(env_id)
    check_env_specs(env)
    horizon = env._env.unwrapped.task.horizon
    steps = env.rollout(horizon)
    assert 1 <= len(steps) <= horizon
    assert steps["next", "terminated"][-1].item()
    assert not steps["next", "truncated"].any()


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_lanes_side_by_side(mode: str) -> None:
    env: Any = GymWrapper(gym.make_vec("klrl/GridNavigation-v0", num_envs=3, autoreset_mode=mode))
    check_env_specs(env)
    steps = env.rollout(100, break_when_any_done=False)
    assert tuple(steps.batch_size) == (3, 100)
    assert steps["next", "terminated"].sum() >= 6  # 40 actions at most


def test_lanes_whose_reward_a_wrapper_pays() -> None:
    plain = gym.make_vec("klrl/GridNavigation-v0", num_envs=3, autoreset_mode="SameStep")
    env: Any = GymWrapper(VectorKLReward(plain, 8.0, lambda seen: np.full((len(seen), 4), -np.log(4))))
    unwrapped: Any = plain.unwrapped
    assert unwrapped.autoreset_mode is env._env.autoreset_mode
    check_env_specs(env)
    assert tuple(env.rollout(5, break_when_any_done=False).batch_size) == (3, 5)
