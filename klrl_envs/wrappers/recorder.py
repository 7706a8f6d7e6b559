"""A record of every episode, one line of JSON each, on the environment's side: any agent logs alike."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.wrappers.base import TokenVectorWrapper, single
from klrl_envs.wrappers.episodes import SUMMED, Episode, append_line, checked_path, metrics_of


class Recorder(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Appends a line for every finished episode: see ``Episode``.

    `tokens` is what the environment has written since it was made, unfinished episodes too. `task_reward`
    and, with ``KLReward`` underneath, `kl`, `k1` and `log_prob` are sums over the episode; `return` is what
    is paid by what is wrapped. ``klrl_envs.results.curve.learning_curve`` reads the file.

    Args:
        env: an environment of klrl_envs.
        path: the file; its folder must be there. Lines are added to those that it has.

    Raises:
        FileNotFoundError: the folder is not there.
    """

    def __init__(self, env: gym.Env[Any, Any], path: str) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, path=str(path))
        self._token_env = single(env, "Recorder", "VectorRecorder wraps it")
        super().__init__(env)
        self._path = checked_path(path)
        self._episodes = 0
        self._head: dict[str, Any] | None = None
        self._total, self._length, self._began = 0.0, 0, 0.0
        self._sums: dict[str, float] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's; an unfinished episode is not recorded."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._head = {"seed": seed, "prompt": info.get("prompt")}
        self._total, self._length, self._began = 0.0, 0, time.perf_counter()
        self._sums = {}
        return observation, info

    def step(self, action: Any) -> Any:
        """As the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._total += float(reward)
        self._length += 1
        for name in SUMMED:
            if name in info:
                self._sums[name] = self._sums.get(name, 0.0) + float(info[name])
        if (terminated or truncated) and self._head is not None:
            episode = Episode(
                episode=self._episodes,
                tokens=self._token_env.engine.taken,
                text=info.get("text"),
                paid=self._total,
                length=self._length,
                seconds=round(time.perf_counter() - self._began, 6),
                metrics=metrics_of(info),
                **{"task_reward": self._total, **self._sums},
                **self._head,
            )
            append_line(self._path, episode.line())
            self._episodes += 1
            self._head = None
        return observation, reward, terminated, truncated, info


class VectorRecorder(TokenVectorWrapper, gym.utils.RecordConstructorArgs):
    """``Recorder`` of N lanes, in every autoreset mode; lines stand in the order in which episodes end.

    Each line has its `lane`; the seed is that of the lane, and `tokens` are those of all lanes.
    """

    def __init__(self, env: Any, path: str) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, path=str(path))
        super().__init__(env)
        self._path = checked_path(path)
        self._episodes = 0
        count = env.num_envs
        self._seeds: list[int | None] = [None] * count
        self._total, self._began = np.zeros(count), np.zeros(count)
        self._length = np.zeros(count, dtype=np.int64)
        self._sums: dict[str, FloatArray] = {}

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's; unfinished episodes are not recorded."""
        result = self.env.reset(seed=seed, options=options)
        count = len(self._seeds)
        seeds = [seed + lane for lane in range(count)] if isinstance(seed, (int, np.integer)) else seed
        mask = (options or {}).get("reset_mask", np.ones(count, dtype=np.bool_))
        self._begin(np.flatnonzero(mask), seeds)
        return result

    def step(self, actions: Any) -> Any:
        """As the environment's."""
        stepped = ~self._token_env.engine.done
        prompts = self._token_env.engine.prompt_index.copy()
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = (terminated | truncated) & stepped
        same_step = self._token_env.autoreset_mode is AutoresetMode.SAME_STEP
        self._total[stepped] += rewards[stepped]
        self._length[stepped] += 1
        last = infos["final_info"] if same_step and ended.any() else infos
        for part in (infos, last) if last is not infos else (infos,):
            for name in SUMMED:
                if name in part:
                    sums = self._sums.setdefault(name, np.zeros(len(stepped)))
                    sums += np.where(part[f"_{name}"], part[name], 0.0)
        for lane in np.flatnonzero(ended).tolist():
            prompt = int(prompts[lane]) if self._token_env.task.prompt_length else None
            self._record(lane, prompt, of_lane(last, lane))
        self._begin(np.flatnonzero(ended if same_step else ~stepped), None)
        return observations, rewards, terminated, truncated, infos

    def _record(self, lane: int, prompt: int | None, info: dict[str, Any]) -> None:
        """Write the line of a lane's episode, which has just ended with ``info``."""
        paid = float(self._total[lane])
        episode = Episode(
            episode=self._episodes,
            tokens=self._token_env.engine.taken,
            text=info.get("text"),
            paid=paid,
            length=int(self._length[lane]),
            seconds=round(time.perf_counter() - float(self._began[lane]), 6),
            lane=lane,
            seed=self._seeds[lane],
            prompt=prompt,
            metrics=metrics_of(info),
            **{"task_reward": paid, **{name: float(values[lane]) for name, values in self._sums.items()}},
        )
        append_line(self._path, episode.line())
        self._episodes += 1

    def _begin(self, lanes: IntArray, seeds: Any) -> None:
        for lane in lanes:
            self._seeds[lane] = None if seeds is None else seeds[lane]
        self._total[lanes] = 0.0
        self._length[lanes] = 0
        self._began[lanes] = time.perf_counter()
        for values in self._sums.values():
            values[lanes] = 0.0


def of_lane(infos: dict[str, Any], lane: int) -> dict[str, Any]:
    """What infos in Gymnasium's layout say of one lane."""
    skipped = ("final_info", "final_obs", "prompt")
    named = {name: mask for name, mask in infos.items() if name.startswith("_") and name[1:] not in skipped}
    return {name[1:]: infos[name[1:]][lane] for name, mask in named.items() if mask[lane]}
