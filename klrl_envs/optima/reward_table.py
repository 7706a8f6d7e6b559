"""The file of a certificate: sampled rewards and how they were made, finished or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs.whole import write_whole

SCHEMA = "klrl certificate 1"


def write_table(path: Path, rewards: NDArray[np.float32], metadata: Mapping[str, str]) -> None:
    """Write a table of rewards float32[P, K], finished or not, as safetensors; replaces a file at once."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    # one entry, sorted: safetensors writes several in random order, and equal tables should be equal files
    header = {SCHEMA: json.dumps(dict(metadata), sort_keys=True)}
    write_whole(path, save({"rewards": np.ascontiguousarray(rewards)}, metadata=header))


def read_table(path: Path) -> tuple[NDArray[np.float32], dict[str, str]]:
    """The rewards and the metadata of a certificate's file, or of an unfinished one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a certificate, or is damaged.
    """
    import safetensors

    if not path.is_file():
        raise FileNotFoundError(f"no certificate at {path}")
    opener: Any = safetensors.safe_open
    try:
        with opener(path, framework="numpy") as file:
            header: dict[str, str] = dict(file.metadata() or {})
            rewards: NDArray[np.float32] = file.get_tensor("rewards")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no certificate: {error}") from error
    if SCHEMA not in header:
        raise ValueError(f"{path} has no header {SCHEMA!r}: it is not a certificate")
    return rewards, json.loads(header[SCHEMA])


def check_rewards(rewards: NDArray[np.floating[Any]], reward_range: tuple[float, float]) -> None:
    """Raise ValueError unless every reward is in its range, float32 rounding apart."""
    low, high = reward_range
    slack = 1e-6 * max(abs(low), abs(high), high - low)
    smallest, largest = float(rewards.min()), float(rewards.max())
    if not (smallest >= low - slack and largest <= high + slack):  # NaN fails too
        raise ValueError(f"rewards must lie in the declared [{low}, {high}], got {smallest} to {largest}")
