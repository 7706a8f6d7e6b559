"""Environments of one's own, by `exact_task`."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOperatorIssue=false, reportCallIssue=false, reportOptionalSubscript=false

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs import exact_task
from klrl_envs.envs.token_env import TokenEnv
from tests.oracles import random_env


def test_exact_task_is_an_environment():
    env = random_env()
    assert isinstance(env, TokenEnv)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    low, high = env.task.reward_range
    rng = np.random.default_rng(0)
    for _ in range(200):
        env.reset()
        total, done = 0.0, False
        while not done:
            _, reward, done, *_ = env.step(rng.integers(5))
            total += reward
        assert low <= total <= high
    features = exact_task(
        env.task.reference, env.task.automaton, horizon=2, kl_coef=1.0, words="abcde", features=True
    )
    assert features.observation_space.contains(features.reset(seed=0)[0])
    with pytest.raises(ValueError, match="words must hold 5 strings"):
        exact_task(env.task.reference, env.task.automaton, horizon=2, kl_coef=1.0, words=["a"])
    with pytest.raises(ValueError, match="kl_coef must be a finite number above 0"):
        exact_task(env.task.reference, env.task.automaton, horizon=2, kl_coef=0)
