"""An episode on record: the one form of a line of `episodes.jsonl`, whoever writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from klrl_envs.whole import append_whole

SUMMED = ("kl", "k1", "log_prob", "task_reward")
PER_TOKEN = ("reference_log_prob", "k2", "k3")
NO_METRICS = {
    *SUMMED, *PER_TOKEN, "text", "prompt", "environment_tokens", "episode", "terminal_observation",
    "TimeLimit.truncated",
}  # fmt: skip
"""What infos hold beside a task's metrics."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A finished episode, or a text that was scored.

    Attributes:
        episode: its number, from 0.
        tokens: that were written by then, in all lanes, this episode's among them.
        text: as the task shows it.
        task_reward: what the task paid.
        paid: what the agent was paid, which a file calls `return`: less the KL where a wrapper or a callback
            takes that off.
        length: tokens that the agent wrote.
        k1: log pi - log pi0 of its tokens, nats; None where nobody knows the policy's log-probs.
        kl: the exact KL(pi(.|s) || pi0(.|s)), summed over its states, nats; None likewise.
        log_prob: log pi of its tokens, nats; None likewise. Less its mean over texts is their entropy.
        seconds: that it took; None where nobody looked at a clock.
        lane, seed, prompt: where it was written, the seed of the reset, and the number of its prompt; None
            where there is none.
        metrics: the task's own.
    """

    episode: int
    tokens: int
    text: str | None
    task_reward: float
    paid: float
    length: int
    k1: float | None = None
    kl: float | None = None
    log_prob: float | None = None
    seconds: float | None = None
    lane: int | None = None
    seed: int | None = None
    prompt: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def line(self) -> dict[str, Any]:
        """What its line holds, the metrics last."""
        named = {"return" if name == "paid" else name: value for name, value in self.__dict__.items()}
        metrics = named.pop("metrics")
        return named | {name: value for name, value in metrics.items() if name not in named}


def metrics_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """The task's metrics in the info of an episode's last step."""
    return {name: value for name, value in info.items() if name not in NO_METRICS}


def append_line(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line, whole or not at all, so that processes may share a file.

    Raises:
        ValueError: the record holds something that JSON has no form for.
        OSError: the line could not be written; the file is as it was.
    """
    append_lines(path, (record,))


def append_lines(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON lines, all or none, as ``append_line`` does."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain).encode
    lines = "".join(encode(record) + "\n" for record in records).encode()
    append_whole(path, lines)


def plain(value: Any) -> Any:
    """A NumPy number or array as JSON has it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"a record holds numbers, texts and lists of them, got {type(value).__name__}")


def checked_path(path: str | Path) -> Path:
    """The path of a record, whose folder must be there.

    Raises:
        FileNotFoundError: it is not.
    """
    checked = Path(path)
    if not checked.parent.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, and its folder {str(checked.parent)!r} is not there")
    return checked
