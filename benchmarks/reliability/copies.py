"""Copies in mid-episode: pickled, copied deeply, and unpickled in another process, they go on alike."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.reliability.record import ROOT, Finding, module

TITLE = "Copies in mid-episode"
ABOUT = """Every id, single and as a vector of three lanes, plays three random tokens and is copied; copy
and original then play the same random tokens to the end of an episode and through another. Environments of
exact tasks must agree to the bit, those of a language model to 1e-5 of the largest feature, since a copy
reads the text anew."""

LANES = 3
TOLERANCE = {"exact": 0.0, "neural": 4e-5}
"""A language model's features are as large as 4."""

Copier = Callable[[Any], Any]


def from_pickle(env: Any) -> Any:
    """A copy by way of a pickle."""
    return pickle.loads(pickle.dumps(env))


def made(env_id: str, lanes: int | None) -> Any:
    """An environment in mid-episode; a vector where it has lanes."""
    import klrl_envs  # noqa: F401

    env = gym.make(env_id) if lanes is None else gym.make_vec(env_id, num_envs=lanes)
    env.reset(seed=5)
    for action in actions_for(env, 5, 3):
        ended = env.step(action)[2]
        if lanes is None and ended:
            env.reset()
    return env


def actions_for(env: Any, seed: int, steps: int) -> list[Any]:
    """Random actions."""
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(steps)]


def played(env: Any, actions: Sequence[Any]) -> list[Any]:
    """What an environment shows and pays for actions, and after each reset."""
    seen: list[Any] = []
    for action in actions:
        observation, reward, terminated, _, _ = env.step(action)
        seen += [np.asarray(observation).copy(), np.asarray(reward), np.asarray(terminated)]
        if np.ndim(terminated) == 0 and terminated:
            seen.append(np.asarray(env.reset()[0]).copy())
    return seen


def difference(one: Sequence[Any], other: Sequence[Any]) -> float:
    """The largest difference between what two environments showed; infinite where their forms differ."""
    if [each.shape for each in one] != [each.shape for each in other]:
        return float("inf")
    pairs = zip(one, other, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max(initial=0.0)) for a, b in pairs)


def apart(env: Any, copier: Copier, steps: int) -> float:
    """How far a copy goes from its original."""
    actions = actions_for(env, 6, steps)
    twin = copier(env)
    return difference(played(env, actions), played(twin, actions))


def through_files(subjects: Sequence[tuple[Any, int]]) -> list[float]:
    """How far copies go that another process unpickles."""
    with tempfile.TemporaryDirectory() as name:
        actions = [actions_for(env, 6, steps) for env, steps in subjects]
        given, got = Path(name, "given"), Path(name, "got")
        given.write_bytes(pickle.dumps([(env, own) for (env, _), own in zip(subjects, actions)]))
        subprocess.run(module(__name__, str(given), str(got)), cwd=ROOT, check=True)
        there = pickle.loads(got.read_bytes())
    here = [played(env, own) for (env, _), own in zip(subjects, actions)]
    return [difference(one, other) for one, other in zip(here, there, strict=True)]


def subjects_of(rows: Sequence[Any]) -> list[tuple[Any, int]]:
    """Environments in mid-episode, single and vector, plain and features, and the steps that they go on."""
    return [
        (made(env_id, lanes), 2 * row.make().horizon)
        for row in rows
        for env_id in (row.gym_id, row.gym_features_id)
        for lanes in (None, LANES)
    ]


def measure(tags: Sequence[str] = ("exact", "neural")) -> list[Finding]:
    """Copy every id in three ways."""
    from klrl_envs.registry import REGISTRY

    findings: list[Finding] = []
    for tag in tags:
        rows = [row for row in REGISTRY if tag in row.tags]
        ways = {
            "`pickle`": lambda found: [apart(env, from_pickle, steps) for env, steps in found],
            "`copy.deepcopy`": lambda found: [apart(env, copy.deepcopy, steps) for env, steps in found],
            "`pickle`, loaded in another process": through_files,
        }
        for way, copied in ways.items():
            far = copied(subjects_of(rows))
            findings.append(
                Finding(
                    what=f"{way}, {len(far)} environments ({2 * len(rows)} ids, {tag})",
                    seen=f"largest difference {max(far):.2g}",
                    limit=f"at most {TOLERANCE[tag]:g}",
                    holds=max(far) <= TOLERANCE[tag],
                )
            )
    return findings


if __name__ == "__main__":
    subjects = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_bytes(pickle.dumps([played(env, actions) for env, actions in subjects]))
