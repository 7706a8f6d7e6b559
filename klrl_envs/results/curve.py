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
"""A curve's windows, and the episodes that they have on average at least, unless asked otherwise."""


class Means(NamedTuple):
    """Windowed means float64 [W] and their standard errors; NaN where the lines do not say."""

    mean: FloatArray
    stderr: FloatArray


class Recorded(NamedTuple):
    """Lines of a recorder, in the order of their tokens: int64 [E], float64 [E]; NaN where unknown."""

    tokens: IntArray
    reward: FloatArray
    k1: FloatArray
    kl: FloatArray
    log_prob: FloatArray
    generation: int
    """Tokens of the longest episode in every lane."""


@dataclass(frozen=True)
class Curve:
    """What a training wrote, window by window.

    Attributes:
        env_id: the environment.
        agent: who wrote it.
        kl_coef: in units of reward per nat.
        window: tokens of a window.
        tokens: int64 [W], written in training at the end of each window.
        episodes: int64 [W], that were recorded in it.
        reward: of the task, without KL.
        kl: the mean of log pi - log pi0 of whole texts (k1), nats.
        exact_kl: the mean of KL(pi(.|s) || pi0(.|s)) summed along texts, nats: the same in expectation.
        entropy: less the mean of log pi of whole texts, nats.
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
    episodes: IntArray
    reward: Means
    kl: Means
    exact_kl: Means
    entropy: Means
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
        window: tokens of a window. By default a fortieth of all, or as many as hold 32 episodes, or as the
            longest episode has in every lane: in less, short episodes and long ones would take turns. A
            window of fewer than two episodes is left out, and so is the last where it is not full.
        env_id: the environment, and
        agent: who wrote it; by default what `result.json` in the same folder says.
        **env_kwargs: the environment's arguments, with an id.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: neither an id nor a `result.json`, lines of another form, or a window that none fills.
        NotCertified: a neural task whose optimum is not known for these arguments.
    """
    file = Path(path) / EPISODES if Path(path).is_dir() else Path(path)
    recorded = read_episodes(file)
    env_id, agent, env_kwargs = whose(file, env_id, agent, env_kwargs)
    size = default_window(recorded) if window is None else window
    total = int(recorded.tokens.max(initial=0))
    if not 1 <= size <= total:
        raise ValueError(f"window must be 1 to the {total:,} tokens of {file}, got {size}")
    place = (recorded.tokens - 1) // size
    full = np.arange(total // size)
    kept = full[np.bincount(place, minlength=len(full))[: len(full)] >= 2]
    task = evaluation_task(env_id, env_kwargs)
    best = optimum_of(task)
    objective = recorded.reward - task.kl_coef * recorded.k1
    score = None
    if best.gap is not None:
        score = windowed((objective - best.reference_value) / best.gap, place, kept)
    return Curve(
        env_id=find_row(env_id).gym_id,
        agent=agent,
        kl_coef=task.kl_coef,
        window=size,
        tokens=(kept + 1) * size,
        episodes=np.bincount(place)[kept],
        reward=windowed(recorded.reward, place, kept),
        kl=windowed(recorded.k1, place, kept),
        exact_kl=windowed(recorded.kl, place, kept),
        entropy=windowed(-recorded.log_prob, place, kept),
        objective=windowed(objective, place, kept),
        score=score,
        approximate=bool(task.prompt_length),
    )


def whose(
    file: Path, env_id: str | None, agent: str | None, env_kwargs: dict[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """The environment, the agent and the environment's arguments: as given, or of the record beside a file.

    Raises:
        ValueError: neither an id nor a record.
    """
    result = file.parent / FILE
    record = RunRecord.load(result) if (env_id is None or agent is None) and result.exists() else None
    agent = agent or (file.stem if record is None else record.agent.name)
    if env_id is not None:
        return env_id, agent, env_kwargs
    if record is None:
        raise ValueError(f"there is no {FILE} beside {file}: give env_id and the environment's arguments")
    return record.env_id, agent, {**record.env_kwargs, **env_kwargs}


def default_window(recorded: Recorded) -> int:
    """Tokens of a window: see ``learning_curve``."""
    total = int(recorded.tokens.max(initial=0))
    windows = min(WINDOWS, len(recorded.tokens) // SMALLEST)
    return min(max(-(-total // max(windows, 1)), recorded.generation), total)


def read_episodes(path: Path) -> Recorded:
    """What a recorder's lines say of reward and KL.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of another form.
    """
    rows: list[tuple[float, ...]] = []
    lanes, longest = {None}, 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            said = json.loads(line)
            # lines of before 0.2 do not know entropies
            nats = (said["k1"], said.get("kl"), said.get("log_prob"))
            known = (np.nan if value is None else float(value) for value in nats)
            rows.append((int(said["tokens"]), float(said["task_reward"]), *known))
            lanes.add(said["lane"])
            longest = max(longest, int(said["length"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no line of a recorder: {line[:80]!r}") from error
    rows.sort(key=lambda row: row[0])  # several processes may share a file
    tokens, reward, k1, kl, log_prob = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    generation = max(len(lanes) - 1, 1) * longest
    return Recorded(tokens.astype(np.int64), reward, k1, kl, log_prob, generation)


def windowed(values: FloatArray, place: IntArray, kept: IntArray) -> Means:
    """Means of the windows ``kept`` [W] of values float64 [E] that lie in windows ``place`` int64 [E], with
    the standard errors of independent values.
    """
    count = np.bincount(place)
    mean = np.bincount(place, values) / np.maximum(count, 1)
    variance = np.bincount(place, (values - mean[place]) ** 2) / np.maximum(count - 1, 1)
    return Means(mean[kept], np.sqrt(variance / np.maximum(count, 1))[kept])


def title_of(curve: Curve) -> str:
    """A curve's environment, and its kl_coef."""
    return f"{short_id(curve.env_id)}, kl_coef {curve.kl_coef:g}"
