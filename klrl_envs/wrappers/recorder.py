"""A record of every episode, one line of JSON each, on the environment's side: any agent logs alike."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.wrappers.base import TokenVectorWrapper, single

SUMMED = ("kl", "k1", "task_reward")
PER_TOKEN = ("reference_log_prob", "log_prob", "k2", "k3")


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line in a single write, so that processes may share a file.

    Raises:
        ValueError: the record holds something that JSON has no form for.
    """
    line = (json.dumps(record, ensure_ascii=False, allow_nan=False, default=plain) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def plain(value: Any) -> Any:
    """A NumPy number or array as JSON has it."""
    if isinstance(value, (np.generic, np.ndarray)):
        return cast(Any, value).tolist()
    raise ValueError(f"a record holds numbers, texts and lists of them, got {type(value).__name__}")


def episode_record(
    head: dict[str, Any],
    total: float,
    sums: dict[str, float],
    length: int,
    began: float,
    info: dict[str, Any],
) -> dict[str, Any]:
    """A line: ``head``, the sums of the episode, and what its last ``info`` says at the end."""
    skipped = {*SUMMED, *PER_TOKEN, "text"}
    return {
        **head,
        "text": info.get("text"),
        "return": total,
        **sums,
        "length": length,
        "seconds": round(time.perf_counter() - began, 6),
        **{name: value for name, value in info.items() if name not in skipped},
    }


class Recorder(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Appends a line for every finished episode.

    A line has ``episode`` (from 0), ``seed`` (of the reset, null where none was given), ``prompt``,
    ``text``, ``return`` (as paid by what is wrapped), ``length`` (tokens), ``seconds``, the task's
    metrics, and with ``KLReward`` underneath the sums ``kl``, ``k1`` (nats) and ``task_reward``.

    Args:
        env: an environment of klrl_envs.
        path: the file; its folder must be there. Lines are added to those that it has.

    Raises:
        FileNotFoundError: the folder is not there.
    """

    def __init__(self, env: gym.Env[Any, Any], path: str) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, path=str(path))
        single(env, "Recorder", "VectorRecorder wraps it")
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
            head = {"episode": self._episodes, **self._head}
            record = episode_record(head, self._total, self._sums, self._length, self._began, info)
            append_line(self._path, record)
            self._episodes += 1
            self._head = None
        return observation, reward, terminated, truncated, info


class VectorRecorder(TokenVectorWrapper, gym.utils.RecordConstructorArgs):
    """``Recorder`` of N lanes, in every autoreset mode; lines stand in the order in which episodes end.

    Each line has ``lane`` beside what ``Recorder`` writes; the seed is that of the lane.
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
            head = {"episode": self._episodes, "lane": lane, "seed": self._seeds[lane], "prompt": prompt}
            sums = {name: float(values[lane]) for name, values in self._sums.items()}
            total, length, began = float(self._total[lane]), int(self._length[lane]), float(self._began[lane])
            append_line(self._path, episode_record(head, total, sums, length, began, of_lane(last, lane)))
            self._episodes += 1
        self._begin(np.flatnonzero(ended if same_step else ~stepped), None)
        return observations, rewards, terminated, truncated, infos

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


def checked_path(path: str) -> Path:
    """The path, whose folder must be there."""
    checked = Path(path)
    if not checked.parent.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, and its folder {str(checked.parent)!r} is not there")
    return checked
