"""NoisyReward and DelayedReward."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs.wrappers import (
    DelayedReward,
    NoisyReward,
)
from tests.wrappers.wrapped import END, GRID, text_env


def test_noise_has_the_mean_reward_and_leaves_the_episode_alone():
    def play(env, seed):
        env.reset(seed=seed)
        return [env.step(action)[:2] for action in (0, 2, 0, 3, 0) * 8]

    bare, noisy = play(gym.make(GRID), 4), play(NoisyReward(gym.make(GRID), 2.0), 4)
    again = play(NoisyReward(gym.make(GRID), 2.0), 4)
    assert all((a[0] == b[0]).all() for a, b in zip(bare, noisy))
    noise = np.array([b[1] - a[1] for a, b in zip(bare, noisy)])
    assert 1.2 < noise.std() < 2.8 and len(set(noise)) == len(noise)
    assert [b[1] for b in noisy] == [b[1] for b in again]
    twice = play(NoisyReward(NoisyReward(gym.make(GRID), 2.0), 2.0), 4)
    first, second = noise, np.array([c[1] - b[1] for b, c in zip(noisy, twice)])
    assert not np.allclose(first, second), "stacked wrappers must not share their noise"
    at_end = play(NoisyReward(gym.make(GRID), 2.0, at_end=True), 4)
    assert [a[1] for a in at_end[:-1]] == [a[1] for a in bare[:-1]] and at_end[-1][1] != bare[-1][1]


@pytest.mark.parametrize("delay", [0, 1, 3, 100])
def test_delayed_rewards_keep_their_sum(delay):
    actions = (3, 1, 4, 2)
    plain = text_env()
    plain.reset(seed=0)
    rewards = [plain.step(action)[1] for action in actions]
    env = DelayedReward(text_env(), delay)
    env.reset(seed=0)
    paid = [env.step(action)[1] for action in actions]
    assert sum(paid) == pytest.approx(sum(rewards))
    assert paid[:-1] == ([0.0] * delay + rewards)[:3]


def test_delayed_reward_is_paid_at_an_early_end_and_not_carried_over():
    env = DelayedReward(text_env(), 3)
    for _ in range(2):
        env.reset()
        assert env.step(4)[1] == 0
        assert env.step(END)[1] == pytest.approx(0.4 + 1.0)
