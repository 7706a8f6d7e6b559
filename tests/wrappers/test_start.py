"""RandomStart."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs.wrappers import (
    KLReward,
    RandomStart,
)
from tests.wrappers.wrapped import END, GRID, SIZE, random_row, text_env


def test_random_start_tokens_follow_the_reference_and_pay_no_kl():
    env = RandomStart(text_env(), 1)
    draws = []
    env.reset(seed=0)
    for _ in range(2000):
        observation, info = env.reset()
        draws.append(info["random_start"][0])
        assert observation[0] == draws[-1]
    expected = np.exp(env.unwrapped.reference_log_probs())  # any state has full support
    start = np.exp(env.unwrapped.task.reference.table[-1])
    start[END] = 0
    counts = np.bincount(draws, minlength=SIZE) / len(draws)
    assert expected.shape == (1, SIZE)
    assert np.abs(counts - start / start.sum()).max() < 0.04 and counts[END] == 0

    outer = KLReward(env, 0.5, random_row())
    outer.reset(seed=1)
    _, reward, *_, info = outer.step(2)
    assert reward == pytest.approx(0.2 - 0.5 * info["k1"])


def test_random_start_leaves_the_horizon_and_redraws_ends():
    env = RandomStart(gym.make(GRID, horizon=6), 3, "uniform")
    for seed in range(20):
        env.reset(seed=seed)
        assert env.unwrapped.engine.time[0] == 3 and not env.unwrapped.engine.done[0]
    first = RandomStart(gym.make(GRID), 5)
    assert first.reset(seed=9)[1] == RandomStart(gym.make(GRID), 5).reset(seed=9)[1]
    with pytest.raises(ValueError, match=r"0\.\.39, got 40"):
        RandomStart(gym.make(GRID), 40)
    with pytest.raises(ValueError, match="source must be"):
        RandomStart(gym.make(GRID), 1, "prior")
