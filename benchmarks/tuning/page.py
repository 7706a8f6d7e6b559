"""What a search found, on file and as a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.tuning.searches import EPISODES, SEARCHES, SEED, SETTINGS, TOKENS, Search
from klrl_envs.results.document import write_atomically

FOLDER = Path(__file__).parent

HEAD = f"""# The settings that were compared

Made by `python -m benchmarks.tuning`. Every agent gets the same search: {SETTINGS} settings, of which the
first is what it ships with, three environments, seed {SEED} (no seed that is scored), {TOKENS:,} tokens a
run and {EPISODES:,} texts to score it. *mean* is over the three; the best is bold. An agent ships with one
setting for all tasks of a kind, and none for a single environment.
"""


@dataclass(frozen=True)
class Tried:
    """A run of a setting.

    Attributes:
        flags: of the setting.
        env_id: where.
        score: 0 as pi0, 1 as the optimum; None where there is none.
        kl: nats from pi0.
        tokens, seconds: that it took.
    """

    flags: str
    env_id: str
    score: float | None
    kl: float
    tokens: int
    seconds: float


def save_tried(agent: str, tried: Sequence[Tried]) -> None:
    """Keep what came out of an agent's search."""
    rows = [asdict(each) for each in tried]
    write_atomically(FOLDER / f"{agent}.json", json.dumps(rows, indent=1) + "\n")


def load_tried(agent: str) -> list[Tried]:
    """What is on record of an agent's search; nothing where it was not run."""
    path = FOLDER / f"{agent}.json"
    return [Tried(**row) for row in json.loads(path.read_text("utf-8"))] if path.is_file() else []


def page(found: Mapping[str, Sequence[Tried]]) -> str:
    """The page of all searches."""
    parts = [HEAD]
    for agent, tried in found.items():
        parts.append(f"## {agent}\n")
        parts.append(part_of(SEARCHES[agent], tried) if tried else "Not run yet.\n")
    return "\n".join(parts)


def part_of(search: Search, tried: Sequence[Tried]) -> str:
    """The table of one agent, and what it cost."""
    scores = {(each.flags, each.env_id): each.score for each in tried}
    means = {
        flags: mean_of([scores.get((flags, env_id)) for env_id in search.environments])
        for flags in search.settings
    }
    best = max(means, key=lambda flags: means[flags])
    names = [env_id.partition("/")[2] for env_id in search.environments]
    lines = [f"| setting | {' | '.join(names)} | mean |", f"| --- |{' ---: |' * (len(names) + 1)}"]
    for flags in search.settings:
        mark = "**" if flags == best else ""
        cells = [shown(scores.get((flags, env_id))) for env_id in search.environments]
        name = f"`{flags}`" if flags else "as it ships"
        lines.append(f"| {mark}{name}{mark} | {' | '.join(cells)} | {mark}{shown(means[flags])}{mark} |")
    tokens, seconds = sum(each.tokens for each in tried), sum(each.seconds for each in tried)
    return "\n".join([*lines, "", f"Cost: {tokens:,} tokens, {seconds / 60:.0f} minutes of one core.\n"])


def mean_of(scores: Sequence[float | None]) -> float:
    """The mean; minus infinity where a run is missing, so that nothing unfinished is best."""
    return math.fsum(score or 0.0 for score in scores) / len(scores) if None not in scores else -math.inf


def shown(score: float | None) -> str:
    """A score in a cell."""
    return "–" if score is None or not math.isfinite(score) else f"{score:.3f}"
