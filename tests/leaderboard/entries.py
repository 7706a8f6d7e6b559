"""Folders of entries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klrl_envs.results.entry import Entry, entry_path, merge
from tests.results.records import COMMAND, record


def write(folder: Path, *entries: Entry) -> None:
    for item in entries:
        item.save(entry_path(item.env_id, item.agent.name, folder / "entries"))


def better() -> Entry:
    """A second agent, with a higher score."""
    agent = {"name": "better", "url": "agents/better.py", "license": "MIT"}
    seeds = [record(seed=seed, agent=agent, score=0.54) for seed in range(2)]
    return merge(seeds, command=COMMAND, tier="reproduced", score_interval=(0.5, 0.58))


def made(
    name: str,
    env_id: str,
    scores: Sequence[float | None],
    *,
    tier: str = "submitted",
    kind: str = "learner",
    **changes: Any,
) -> Entry:
    """An entry of an agent on an environment, a seed a score."""
    agent = {"name": name, "url": f"agents/{name}.py", "license": "MIT", "kind": kind}
    seeds = [
        record(
            seed=seed,
            agent=agent,
            env_id=env_id,
            score=score,
            score_interval=None if score is None else [score - 0.01, score + 0.01],
            **changes,
        )
        for seed, score in enumerate(scores)
    ]
    known = [score for score in scores if score is not None]
    bounds = (min(known), max(known)) if known else None
    return merge(seeds, command=COMMAND, tier=tier, score_interval=bounds)
