"""Folders of entries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klrl_envs.results.entry import Entry, entry_path, merge, rank
from leaderboard.aggregate import aggregate
from leaderboard.board import Board
from leaderboard.cards import Card, load_cards
from leaderboard.folder import FOLDER
from leaderboard.history import History
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


EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}<!--"
"""What somebody may write wherever words are free."""


def hostile(env_id: str = "klrl/GridNavigation-v0", url: str = "javascript:alert(1)") -> Entry:
    """An entry of a stranger with ``EVIL`` in each field that takes it, and an address that no record has."""
    honest = made("constructor", env_id, [0.3, 0.4])
    agent = honest.agent.model_copy(
        update={"url": url, **dict.fromkeys(("license", "observes", "trains", "tuned"), EVIL)}
    )
    hardware = honest.hardware.model_copy(update={"cpu": EVIL})
    versions = honest.versions.model_copy(update={"python": EVIL, "torch": EVIL})
    told = {"command": f"{EVIL} {{seed}} {{out}}", "commit": EVIL}
    return honest.model_copy(update={"agent": agent, "hardware": hardware, "versions": versions, **told})


def board_of(*entries: Entry, **changes: Any) -> Board:
    """A board of entries alone, with changes."""
    ordered = sorted(entries, key=rank)
    nothing: dict[str, Any] = {"history": History(), "challenges": [], "cards": {}, "exhibits": {}}
    return Board(**{"entries": ordered, "aggregate": aggregate(ordered), **nothing, **changes})


def card(env_id: str = "klrl/GridNavigation-v0") -> Card:
    """The committed card of an environment, as of the task of entries that are ``made``."""
    return load_cards(FOLDER)[env_id].model_copy(update={"task_sha256": "a" * 64})
