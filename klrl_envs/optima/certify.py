"""Making certificates: reference samples of every evaluation prompt, scored; seeded and resumable.

Each prompt has its own random stream, a function of the seed and the prompt's number, so that a run that
was interrupted and taken up again gives the very table that an uninterrupted one gives.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klrl_envs import ledger
from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from klrl_envs.optima.certificate import Certificate
from klrl_envs.optima.optimum import certificate_folder, certificate_name, public_id
from klrl_envs.optima.reward_table import check_rewards, read_table, write_table
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.tasks.base import Task

LANES = 500
"""Reference episodes side by side. The samples depend on it, so it is a constant."""

SAMPLES = 10_000
"""Samples per prompt unless asked otherwise."""

SAVE_SECONDS = 20.0
"""How often an unfinished table is written, at the end of a prompt."""

Progress = Callable[[int, int, float], None]
"""(prompts done, prompts in all, seconds left)"""


@ledger.counting_as("certify")
def certify(
    task: Task,
    samples_per_prompt: int = SAMPLES,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Draw samples_per_prompt texts of the reference for each prompt of the task, and keep their rewards.

    Args:
        task: on its evaluation prompts, for the result to be found by `klrl_envs.optimum`.
        samples_per_prompt: K, at least 2.
        seed: the table is a function of it, on one machine with one set of versions.
        out: the file; by default where `klrl_envs.optimum` looks for one's own certificates. An
            unfinished table lies beside it, named `.partial`, and is taken up again.
        progress: called at the end of each prompt.

    Returns:
        The certificate, as saved.

    Raises:
        ValueError: samples_per_prompt or seed out of range, a task that sampling cannot certify, or a file
            at `out` that was made from other arguments.
    """
    if samples_per_prompt < 2:
        raise ValueError(f"samples_per_prompt must be at least 2, got {samples_per_prompt}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if task.random_beside_tokens:
        raise ValueError(
            f"{task.id} is random beside its tokens, so samples do not give its J*: it is solved"
        )
    target = certificate_folder() / certificate_name(task) if out is None else Path(out)
    partial = target.with_name(target.name + ".partial")
    metadata = _metadata(task, seed)
    shape = (len(task.prompts.tokens), samples_per_prompt)
    for path in (target, partial):
        if path.is_file():
            _check_same(path, shape, task, metadata)
    if target.is_file():
        return Certificate.load(target)
    rewards: NDArray[np.float32] = np.full(shape, np.nan, dtype=np.float32)
    if partial.is_file():
        rewards[:] = read_table(partial)[0]
    open_prompts = np.flatnonzero(np.isnan(rewards).any(axis=1))
    began = saved = time.monotonic()
    for done, prompt in enumerate(open_prompts.tolist(), start=1):
        rewards[prompt] = sample_rewards(task, prompt, samples_per_prompt, seed)
        check_rewards(rewards[prompt], task.reward_range)
        now = time.monotonic()
        if now - saved > SAVE_SECONDS:
            write_table(partial, rewards, {**metadata, "fingerprint": task.fingerprint})
            saved = now
        if progress is not None:
            left = open_prompts.size - done
            progress(shape[0] - left, shape[0], (now - began) / done * left)
    certificate = Certificate(rewards, task.reward_range, task.fingerprint, public_id(task), metadata)
    certificate.save(target)
    partial.unlink(missing_ok=True)
    return certificate


def sample_rewards(task: Task, prompt: int, count: int, seed: int) -> FloatArray:
    """Rewards float64[count] of independent reference texts after one prompt.

    They are a function of task, prompt and seed, and the first ones do not depend on count.
    """
    rng = np.random.default_rng([seed, prompt])
    lanes = LANES
    engine = Engine(task, lanes)
    engine.seed_lanes(rng)
    rounds: list[FloatArray] = []
    while len(rounds) * lanes < count:
        _, rewards, _ = draw_reference(engine, prompt, rng)
        rounds.append(rewards)
    return np.concatenate(rounds)[:count]


def _metadata(task: Task, seed: int) -> dict[str, str]:
    arguments = {} if task.source is None else dict(task.source.arguments)
    return {
        "arguments": json.dumps({k: v for k, v in arguments.items() if k != "kl_coef"}, sort_keys=True),
        "reference": task.reference.name,
        "reference_sha256": task.reference.fingerprint,
        "reward_sha256": task.reward_fingerprint,
        "seed": str(seed),
        "lanes": str(LANES),
        "versions": json.dumps({"python": platform.python_version(), "numpy": version("numpy")}),
    }


def _check_same(path: Path, shape: tuple[int, int], task: Task, metadata: dict[str, str]) -> None:
    rewards, seen = read_table(path)
    expected = {
        "fingerprint": task.fingerprint, "seed": metadata["seed"], "lanes": metadata["lanes"],
        "shape": str(shape),
    }  # fmt: skip
    found = {**seen, "shape": str((rewards.shape[0], rewards.shape[1]))}
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} was made with {name} {found.get(name)}, not {value}; "
                "name another file, or remove this one"
            )
