"""Golden transcripts: one recorded episode per environment, replayed action by action.

``python -m tests.golden.transcript [ID ...]`` writes those that are missing, and what ``tasks.json`` lacks.
A task that changes needs a new version, not a new transcript.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from klrl_envs.registry import REGISTRY
from tests.golden import tasks

FOLDER = Path(__file__).parent
SEED = 11


def record(env_id: str, actions: list[int] | None = None) -> dict[str, Any]:
    """Play an episode: the given actions, or draws from the reference."""
    env: Any = gym.make(env_id)
    vocabulary = env.unwrapped.task.vocabulary
    rng = np.random.default_rng(SEED)
    observation, info = env.reset(seed=SEED)
    steps: list[dict[str, Any]] = []
    begin = {"observation": observation.tolist(), "info": plain(info)}
    terminated = False
    while not terminated:
        row = np.exp(env.unwrapped.reference_log_probs()[0].astype(np.float64))
        drawn = int(min(np.searchsorted(row.cumsum(), rng.random() * row.sum()), len(row) - 1))
        action = drawn if actions is None else actions[len(steps)]
        observation, reward, terminated, _, info = env.step(action)
        steps.append(
            {
                "action": action,
                "token": vocabulary.token_string(action),
                "observation": observation.tolist(),
                "reward": round(reward, 6),
                "info": plain(info),
            }
        )
    return {"id": env_id, "seed": SEED, "begin": begin, "steps": steps}


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """An info as JSON has it."""
    arrays = {key: v.tolist() for key, v in info.items() if isinstance(v, np.ndarray)}
    return {key: round(v, 4) if isinstance(v, float) else v for key, v in (info | arrays).items()}


def path_of(env_id: str) -> Path:
    """Where the transcript of an id is kept."""
    return FOLDER / f"{env_id.rsplit('/', 1)[1]}.json"


def main() -> None:
    """Write the transcripts that are missing, a line per step, and put their tasks on record."""
    for row in REGISTRY:
        if row.id not in (sys.argv[1:] or [row.id]):
            continue
        if tasks.add(row):
            print(f"wrote {row.id} into {tasks.PATH.name}")
        path = path_of(row.gym_id)
        if not path.exists():
            transcript = record(row.gym_id)
            steps = ",\n".join("  " + json.dumps(step) for step in transcript.pop("steps"))
            head = json.dumps(transcript)[:-1]
            path.write_text(f'{head}, "steps": [\n{steps}\n]}}\n')
            print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
