"""Wrapped environments are rebuilt from their spec."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs.wrappers import (
    DelayedReward,
    NoisyReward,
    RandomStart,
    ReferenceFeatures,
    StateIndex,
)
from tests.wrappers.wrapped import GRID


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: NoisyReward(env, sigma=0.5),
        lambda env: DelayedReward(env, delay=2),
        lambda env: RandomStart(env, tokens=2),
        StateIndex,
        ReferenceFeatures,
    ],
)
def test_specs_survive_json(wrap):
    env = wrap(gym.make(GRID, horizon=12))
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert again.observation_space == env.observation_space
    first, second = env.reset(seed=3), again.reset(seed=3)
    assert np.array_equal(first[0], second[0])
    for action in (0, 2, 0, 1):
        a, b = env.step(action), again.step(action)
        assert np.array_equal(a[0], b[0]) and a[1] == b[1]
