"""Sample texts of a training, from the lines that a recorder has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from klrl_envs.results.curve import EPISODES


class Sample(NamedTuple):
    """A recorded text: when it was written, what the task paid, and log pi - log pi0 in nats where known."""

    tokens: int
    text: str
    task_reward: float
    k1: float | None


def sample_texts(path: str | Path, count: int = 5) -> list[Sample]:
    """Recorded texts from the first to the last, evenly in their order: nobody has chosen among them.

    Args:
        path: a run's folder, or a file that ``Recorder``, ``KLCallback`` or ``as_reward_fn`` has written.
        count: how many, at least 1; all where there are fewer.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    file = Path(path) / EPISODES if Path(path).is_dir() else Path(path)
    said = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    said = sorted((line for line in said if line["text"] is not None), key=lambda line: line["tokens"])
    places = np.linspace(0, len(said) - 1, min(count, len(said))).round().astype(int).tolist()
    return [Sample(*(said[place][name] for name in Sample._fields)) for place in places]
