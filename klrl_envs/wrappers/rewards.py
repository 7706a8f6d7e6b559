"""Rewards made harder to learn from, with the optimum left where it is."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np

from klrl_envs.tasks.base import is_whole
from klrl_envs.wrappers.base import single


class NoisyReward(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Adds normal noise to every reward; J* stays, as only the mean reward counts.

    The noise has a generator of its own, spawned from the environment's at a seeded reset: the episode
    is that of the bare environment with the same seed. info has ``task_reward``, the reward without it.

    Args:
        env: an environment of klrl_envs.
        sigma: standard deviation in units of reward, at least 0.
        at_end: disturb the last reward only, where the task pays once, at the end.

    Raises:
        ValueError: sigma below 0.
    """

    def __init__(self, env: gym.Env[Any, Any], sigma: float, at_end: bool = False) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, sigma=sigma, at_end=at_end)
        self._token_env = single(env, "NoisyReward")
        super().__init__(env)
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma must be a finite number of at least 0, got {sigma!r}")
        self._sigma = sigma
        self._at_end = at_end
        self._noise: np.random.Generator | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        result = self.env.reset(seed=seed, options=options)
        if seed is not None or self._noise is None:
            self._noise = own_generator(self._token_env)
        return result

    def step(self, action: Any) -> Any:
        """As the environment's, with noise in the reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._noise is None:
            raise RuntimeError("call reset before step")
        noisy = float(reward)
        if terminated or truncated or not self._at_end:
            noisy += self._sigma * float(self._noise.standard_normal())
        return observation, noisy, terminated, truncated, {**info, "task_reward": float(reward)}


class DelayedReward(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Pays each reward ``delay`` steps later; what is pending is paid at the end. J* stays.

    info has ``task_reward``, the reward that the step earned.

    Args:
        env: an environment of klrl_envs.
        delay: steps, at least 0.

    Raises:
        ValueError: delay is not an integer of at least 0.
    """

    def __init__(self, env: gym.Env[Any, Any], delay: int) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, delay=delay)
        single(env, "DelayedReward")
        super().__init__(env)
        if not is_whole(delay) or delay < 0:
            raise ValueError(f"delay must be an integer of at least 0 steps, got {delay!r}")
        self._delay = int(delay)
        self._pending: deque[float] = deque()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        self._pending.clear()
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """As the environment's, with the reward of ``delay`` steps ago."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._pending.append(float(reward))
        if terminated or truncated:
            paid = math.fsum(self._pending)
            self._pending.clear()
        else:
            paid = self._pending.popleft() if len(self._pending) > self._delay else 0.0
        return observation, paid, terminated, truncated, {**info, "task_reward": float(reward)}


def own_generator(env: gym.Env[Any, Any]) -> np.random.Generator:
    """A generator that follows from the environment's seed and takes nothing from its stream."""
    return env.np_random.spawn(1)[0]
