"""Folders of entries."""

from pathlib import Path

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
