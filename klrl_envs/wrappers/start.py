"""Episodes that begin with random tokens."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from klrl_envs.reference.sampling import sample_rows
from klrl_envs.tasks.base import is_whole
from klrl_envs.wrappers.base import single
from klrl_envs.wrappers.rewards import own_generator

TRIES = 1000


class RandomStart(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """The first tokens of an episode are drawn, not chosen: the agent meets states that it would not seek.

    The drawn tokens belong to the starting state, as a prompt does: no policy chose them, so they pay no
    KL, and what the task paid for them goes to nobody. They do count towards the horizon and
    the final reward. A draw that would end the episode is made again, and the end token is never
    drawn. info at reset has ``random_start``, the tokens. Put it under ``KLReward``.

    It is a way to explore, and another task: J* and the score are those of the environment without it.

    Args:
        env: an environment of klrl_envs.
        tokens: how many are drawn, 0 to the horizon less one.
        source: "reference" (from pi0) or "uniform".

    Raises:
        ValueError: an argument out of range.
        RuntimeError: at a reset, every one of many draws ended the episode.
    """

    def __init__(self, env: gym.Env[Any, Any], tokens: int, source: str = "reference") -> None:
        gym.utils.RecordConstructorArgs.__init__(self, tokens=tokens, source=source)
        self._token_env = single(env, "RandomStart")
        super().__init__(env)
        horizon = self._token_env.task.horizon
        if not is_whole(tokens) or not 0 <= tokens < horizon:
            raise ValueError(f"tokens must be an integer in 0..{horizon - 1}, got {tokens!r}")
        if source not in ("reference", "uniform"):
            raise ValueError(f"source must be 'reference' or 'uniform', got {source!r}")
        self._tokens = int(tokens)
        self._source = source
        self._random: np.random.Generator | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's, then the drawn tokens."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None or self._random is None:
            self._random = own_generator(self._token_env)
        for attempt in range(TRIES):
            if attempt:
                observation, info = self.env.reset(options=options)
            drawn: list[int] = []
            ended = False
            while len(drawn) < self._tokens and not ended:
                drawn.append(self._draw(self._random))
                observation, _, terminated, truncated, _ = self.env.step(np.int64(drawn[-1]))
                ended = bool(terminated or truncated)
            if not ended:
                return observation, {**info, "random_start": drawn}
        raise RuntimeError(f"{TRIES} draws of {self._tokens} tokens all ended the episode: take fewer tokens")

    def _draw(self, rng: np.random.Generator) -> int:
        task = self._token_env.task
        if self._source == "uniform":
            rows = np.zeros((1, task.vocab_size))
        else:
            rows = self._token_env.reference_log_probs().astype(np.float64)
        if task.end_token is not None:
            rows[:, task.end_token] = -np.inf
        return int(sample_rows(rows, rng)[0])
