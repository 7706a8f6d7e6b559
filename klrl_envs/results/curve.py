"""Learning curves: reward, KL and score against tokens, from the lines that a recorder has written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.registry import find_row
from klrl_envs.results.record import FILE, RunRecord
from klrl_envs.tasks.row import short_id

EPISODES = "episodes.jsonl"
"""The recorder's file in a run's folder."""
WINDOWS, SMALLEST = 40, 32
"""A curve's windows, and the episodes that one of them has at least, unless asked otherwise."""


class Means(NamedTuple):
    """Windowed means float64 [W] and their standard errors; NaN where the lines do not say."""

    mean: FloatArray
    stderr: FloatArray


class Recorded(NamedTuple):
    """Lines of a recorder, in the order of their tokens: int64 [E] and float64 [E] each, NaN where unknown."""

    tokens: IntArray
    reward: FloatArray
    k1: FloatArray


@dataclass(frozen=True)
class Curve:
    """What a training wrote, window by window of consecutive episodes.

    Attributes:
        env_id: the environment.
        agent: who wrote it.
        kl_coef: in units of reward per nat.
        window: episodes of a window.
        tokens: int64 [W], written in training by the last episode of each window.
        reward: of the task, without KL.
        kl: the mean of log pi - log pi0 of whole texts (k1), nats.
        objective: reward - kl_coef k1, by episode.
        score: (objective - J0) / (J* - J0); None where J* = J0, or where no optimum is known.
        approximate: the task has prompts, and the episodes are of those of training: J0 and J* are those of
            the evaluation prompts, so that the score is near what ``evaluate`` would say, and not it.
    """

    env_id: str
    agent: str
    kl_coef: float
    window: int
    tokens: IntArray
    reward: Means
    kl: Means
    objective: Means
    score: Means | None
    approximate: bool

    def tokens_to(self, level: float) -> int | None:
        """The tokens after which a window's mean score first reaches a level; None where none does.

        A window's mean is noisy, and the first of many to lie above a level does so early by chance: read it
        beside the standard errors.
        """
        if self.score is None:
            return None
        reached = np.flatnonzero(self.score.mean >= level)
        return int(self.tokens[reached[0]]) if reached.size else None


def learning_curve(
    path: str | Path,
    *,
    window: int | None = None,
    env_id: str | None = None,
    agent: str | None = None,
    **env_kwargs: Any,
) -> Curve:
    """The learning curve of a run, from what its policy wrote in training: no evaluation is needed.

    The policy that wrote is the one that explored; a window holds episodes of several policies, and its
    standard error their differences. It is that of independent episodes: with a few prompts a window, each
    written several times, it is too small.

    Args:
        path: a run's folder, or a file that ``Recorder``, ``KLCallback`` or ``as_reward_fn`` has written.
        window: episodes of a window; a fortieth of all, and at least 32, where None. What is left at the end
            and fills no window is left out.
        env_id: the environment, and
        agent: who wrote it; by default what `result.json` in the same folder says.
        **env_kwargs: the environment's arguments, with an id.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: neither an id nor a `result.json`, lines of another form, or fewer episodes than a window.
        NotCertified: a neural task whose optimum is not known for these arguments.
    """
    file = Path(path) / EPISODES if Path(path).is_dir() else Path(path)
    recorded = read_episodes(file)
    if env_id is None or agent is None:
        result = file.parent / FILE
        known = RunRecord.load(result) if result.exists() else None
        if known is None and env_id is None:
            raise ValueError(
                f"there is no {FILE} beside {file}: give env_id, and the environment's arguments"
            )
        agent = agent or (known.agent.name if known is not None else file.stem)
        if env_id is None and known is not None:
            env_id, env_kwargs = known.env_id, {**known.env_kwargs, **env_kwargs}
    assert env_id is not None
    size = max(len(recorded.tokens) // WINDOWS, SMALLEST) if window is None else window
    if not 2 <= size <= len(recorded.tokens):
        raise ValueError(f"window must be 2 to the {len(recorded.tokens)} episodes of {file}, got {size}")
    task = evaluation_task(env_id, env_kwargs)
    best = optimum_of(task)
    objective = recorded.reward - task.kl_coef * recorded.k1
    score = None
    if best.gap is not None:
        score = windowed((objective - best.reference_value) / best.gap, size)
    count = len(recorded.tokens) // size
    return Curve(
        env_id=find_row(env_id).gym_id,
        agent=agent,
        kl_coef=task.kl_coef,
        window=size,
        tokens=recorded.tokens[: count * size].reshape(count, size)[:, -1],
        reward=windowed(recorded.reward, size),
        kl=windowed(recorded.k1, size),
        objective=windowed(objective, size),
        score=score,
        approximate=bool(task.prompt_length),
    )


def read_episodes(path: Path) -> Recorded:
    """What a recorder's lines say of reward and KL.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of another form.
    """
    rows: list[tuple[int, float, float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            said = json.loads(line)
            k1 = said["k1"]
            rows.append(
                (int(said["tokens"]), float(said["task_reward"]), np.nan if k1 is None else float(k1))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no line of a recorder: {line[:80]!r}") from error
    rows.sort(key=lambda row: row[0])  # several processes may share a file
    tokens, reward, k1 = zip(*rows) if rows else ((), (), ())
    return Recorded(np.array(tokens, dtype=np.int64), np.array(reward), np.array(k1))


def windowed(values: FloatArray, size: int) -> Means:
    """Means of consecutive windows of values float64 [E], with the standard errors of independent values."""
    count = len(values) // size
    windows = values[: count * size].reshape(count, size)
    return Means(windows.mean(axis=1), windows.std(axis=1, ddof=1) / np.sqrt(size))


def title_of(curve: Curve) -> str:
    """A curve's environment, and its kl_coef."""
    return f"{short_id(curve.env_id)}, kl_coef {curve.kl_coef:g}"
