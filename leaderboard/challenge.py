"""Challenges: a reproduction that failed is published beside the row that it doubts.

    leaderboard/challenges/<environment>--<agent>--<date>.json     (-2, -3, ... of the same day)

`python -m leaderboard.verify ENTRY --rerun` writes one where the runs do not bear the entry out; somebody who
has found it elsewhere sends one by hand. The row then says "challenged" until its author answers: with a run
that agrees, by a corrected entry, or by taking it off. A challenge that was answered stays, with its answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry, file_stem
from klrl_envs.results.record import Date, EnvId, Finite, Name, NonEmpty, Sha256
from klrl_envs.tasks.row import short_id
from leaderboard.tables import Doubted, Table

FOLDER_NAME = "challenges"
ABOUT = "Reproductions that failed, and what came of them; J is the objective, mean over the seeds named."


class Run(Strict):
    """A seed that was run again: the objective on record, and that of the new run; None where it failed."""

    seed: Annotated[int, Field(ge=0)]
    claimed: Finite
    found: Finite | None


class Challenge(Document):
    """A failed reproduction: of which entry, by whom, what came out; the answer is empty while it is open."""

    env_id: EnvId
    agent: Name
    commit: NonEmpty
    task_sha256: Sha256
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]
    reason: NonEmpty
    by: NonEmpty
    date: Date
    answer: str = ""

    @property
    def open(self) -> bool:
        """Whether nobody has answered it."""
        return not self.answer

    def concerns(self, entry: Entry) -> bool:
        """Whether it doubts this entry, as it is now: a corrected one is of another commit."""
        commits = {entry.commit, *(seed.commit for seed in entry.seeds)}
        return (entry.env_id, entry.agent.name) == (self.env_id, self.agent) and self.commit in commits


def challenge_path(challenge: Challenge, folder: Path) -> Path:
    """Where a new challenge is to lie, in a folder of the leaderboard: none is overwritten."""
    stem = stem_of(challenge)
    taken = len(list((folder / FOLDER_NAME).glob(f"{stem}*.json")))
    return folder / FOLDER_NAME / f"{stem}{f'-{taken + 1}' if taken else ''}.json"


def stem_of(challenge: Challenge) -> str:
    """What the files of a day's challenges of an entry begin with."""
    return f"{file_stem(challenge.env_id, challenge.agent)}--{challenge.date}"


def load_challenges(folder: Path) -> list[Challenge]:
    """Every challenge, in the order of their files.

    Raises:
        ValueError: a file that is none, or lies under another's name.
    """
    found: list[Challenge] = []
    for path in sorted((folder / FOLDER_NAME).glob("*.json")):
        challenge = Challenge.load(path)
        if not re.fullmatch(re.escape(stem_of(challenge)) + "(-[0-9]+)?", path.stem):
            raise ValueError(f"{path}: this challenge's file must be called {stem_of(challenge)}.json")
        found.append(challenge)
    return found


def doubted(entries: Sequence[Entry], challenges: Sequence[Challenge]) -> Doubted:
    """The entries that are challenged, where nobody has answered."""
    return {
        (entry.env_id, entry.agent.name)
        for entry in entries
        if any(each.open and each.concerns(entry) for each in challenges)
    }


def challenge_table(challenges: Sequence[Challenge]) -> Table:
    """Headings and rows."""
    headings = ("environment", "agent", "date", "by", "J on record", "J again", "why", "answer")
    return headings, [
        (
            short_id(each.env_id),
            each.agent,
            each.date,
            each.by,
            f"{sum(run.claimed for run in each.runs) / len(each.runs):.4g}",
            ", ".join("failed" if run.found is None else f"{run.found:.4g}" for run in each.runs),
            each.reason,
            each.answer or "open",
        )
        for each in challenges
    ]
