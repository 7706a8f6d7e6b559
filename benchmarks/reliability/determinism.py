"""The same seeds in new processes: the same numbers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.reliability.record import ROOT, Finding, as_json, module

TITLE = "Determinism"
ABOUT = """Five seeds are played, and trained with, in two processes each, whose hashes of strings have
other seeds. What is compared is the SHA-256 of all observations, rewards, ends and infos of random play,
and of the weights and numbers that a training on one thread leaves. Different seeds must differ, or nothing
was compared."""

SEEDS = (0, 1, 2, 3, 4)
PLAYED = {"klrl/Keywords-v0": 2_000, "klrl/Sentiment-v0": 300}
"""Ids, and the steps of a seed."""
TRAINED = ("agents.reinforce", "klrl/GridNavigation-v0", 6_000)
NUMBERS = ("score", "objective", "expected_reward", "kl")


def digest_of_play(env: gym.Env[Any, Any], seed: int, steps: int) -> str:
    """The SHA-256 of all that random play shows."""
    digest = hashlib.sha256()
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    for _ in range(steps):
        action = rng.integers(env.action_space.n)  # type: ignore[attr-defined]
        digest.update(np.ascontiguousarray(observation).tobytes() + repr(sorted(info.items())).encode())
        observation, reward, terminated, truncated, info = env.step(action)
        digest.update(repr((float(reward), terminated, truncated)).encode())
        if terminated or truncated:
            observation, info = env.reset()
    return digest.hexdigest()


def played(env_id: str, steps: int, seeds: Sequence[int]) -> list[str]:
    """A digest a seed, from this process."""
    import klrl_envs  # noqa: F401

    return [digest_of_play(gym.make(env_id), seed, steps) for seed in seeds]


def told(words: Sequence[str], hash_seed: int, folder: Path = ROOT) -> str:
    """What a command prints, in a process whose strings hash by a seed."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(words)}: {ran.stderr.strip()[-2_000:]}")
    return ran.stdout


def trained(seed: int, hash_seed: int) -> str:
    """A digest of what a training leaves."""
    agent, env_id, tokens = TRAINED
    with tempfile.TemporaryDirectory() as name:
        words = (
            "--env-id", env_id, "--tokens", str(tokens), "--seed", str(seed), "--episodes", "64",
            "--evaluation-seed", "1", "--threads", "1", "--device", "cpu", "--out", name,
        )  # fmt: skip
        told(module(agent, *words), hash_seed)
        return digest_of_training(Path(name))


def digest_of_training(out: Path) -> str:
    """The SHA-256 of a run's weights and numbers."""
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    numbers = as_json({name: result[name] for name in NUMBERS})
    return hashlib.sha256((out / "policy.safetensors").read_bytes() + numbers.encode()).hexdigest()


def compared(what: str, runs: Sequence[Mapping[int, str]]) -> Finding:
    """Digests of two processes, by seed."""
    one, other = runs
    same = sum(one[seed] == other[seed] for seed in one)
    distinct = len(set(one.values()))
    return Finding(
        what=what,
        seen=f"{same} of {len(one)} seeds the same, {distinct} distinct",
        limit="all the same, all distinct",
        holds=same == distinct == len(one) > 1,
    )


def measure(seeds: Sequence[int] = SEEDS) -> list[Finding]:
    """Play and train twice."""
    findings: list[Finding] = []
    for env_id, steps in PLAYED.items():
        words = module(__name__, env_id, str(steps), *map(str, seeds))
        runs = [dict(zip(seeds, json.loads(told(words, hash_seed)))) for hash_seed in (1, 2)]
        findings.append(compared(f"`{env_id}`, {steps:,} steps a seed", runs))
    runs = [{seed: trained(seed, hash_seed) for seed in seeds} for hash_seed in (1, 2)]
    agent, env_id, tokens = TRAINED
    return [*findings, compared(f"`{agent}` on `{env_id}`, {tokens:,} tokens", runs)]


if __name__ == "__main__":
    print(as_json(played(sys.argv[1], int(sys.argv[2]), [int(seed) for seed in sys.argv[3:]])))
