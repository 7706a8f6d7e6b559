"""Exhibits: what an entry's page shows beside its numbers, the learning curves and texts of its runs.

    python -m leaderboard.exhibits RUNS    write those of the entries whose runs lie under the folder RUNS

One file an entry, `leaderboard/exhibits/<environment>--<agent>.json`, made of the runs' folders:
`episodes.jsonl` gives the curve of a seed, the policy of the first seed that left one writes a text behind
each prompt of the environment's card. They are their author's, and tied to the entry by seed and tokens; an
entry may have none. Policies in these folders are loaded as data; nothing of theirs is run.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import model_validator

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.shown_texts import policy_texts
from klrl_envs.networks.files import load_policy
from klrl_envs.results.curve import EPISODES, learning_curve
from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry, entry_path, file_stem, load_entries
from klrl_envs.results.record import FILE, Count, EnvId, Finite, Name, RunRecord, Sha256
from leaderboard.cards import SEED, TEXTS, Written, digits, prompts_shown, written
from leaderboard.folder import ENTRIES, FOLDER, exhibit_path

POLICIES = ("policy.safetensors", "policy.onnx")
"""What a run may leave of its policy."""


class SeedCurve(Strict):
    """The learning curve of a seed: means of windows of what it wrote in training, None where nobody knows.

    `spent` are the tokens of the whole run, which its entry has too; `score` is None where J* = J(pi0).
    """

    seed: Count
    spent: Count
    tokens: tuple[Count, ...]
    score: tuple[Finite | None, ...] | None
    expected_reward: tuple[Finite, ...]
    kl: tuple[Finite | None, ...]

    @model_validator(mode="after")
    def _check(self) -> SeedCurve:
        parts = (
            self.tokens,
            self.expected_reward,
            self.kl,
            self.tokens if self.score is None else self.score,
        )
        if len({len(each) for each in parts}) > 1:
            raise ValueError(f"the parts of the curve of seed {self.seed} must be of one length")
        if list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError(f"the tokens of the curve of seed {self.seed} must ascend")
        return self


class Exhibit(Document):
    """Curves, and texts of one seed, `texts_seed`, behind the prompts of the environment's card.

    `approximate`: the curves' scores are of training prompts, near what ``evaluate`` would say.
    """

    env_id: EnvId
    agent: Name
    task_sha256: Sha256
    approximate: bool
    curves: tuple[SeedCurve, ...]
    texts_seed: Count | None
    texts: tuple[Written, ...]

    @model_validator(mode="after")
    def _check(self) -> Exhibit:
        if len(self.texts) not in (0, TEXTS) or bool(self.texts) != (self.texts_seed is not None):
            raise ValueError(f"texts must be none, or {TEXTS} of a seed that texts_seed names")
        return self

    def problem_with(self, entry: Entry | None) -> str | None:
        """Why it is not of an entry; None where it is."""
        if entry is None:
            return "there is no such entry"
        if self.task_sha256 != entry.task_sha256:
            return "its task is another one than its entry's"
        spent = {seed.seed: seed.tokens for seed in entry.seeds}
        other = [each.seed for each in self.curves if spent.get(each.seed) != each.spent]
        return f"its entry has no seed {other[0]} with as many tokens" if other else None


class Run(NamedTuple):
    """A run's folder and its record."""

    folder: Path
    record: RunRecord


def exhibit_of(entry: Entry, runs: Sequence[Run]) -> Exhibit:
    """The exhibit of an entry from its runs, in the order of their seeds.

    Raises:
        ValueError: a recorder's file or a policy that is damaged.
    """
    task = evaluation_task(entry.env_id)
    policies = [(run, run.folder / name) for run in runs for name in POLICIES if (run.folder / name).exists()]
    texts_seed, texts = None, []
    if policies:
        run, path = policies[0]
        texts_seed = run.record.seed
        policy, features = load_policy(path, task)
        texts = policy_texts(policy, task, prompts_shown(task), SEED, features=features)
    return Exhibit(
        env_id=entry.env_id,
        agent=entry.agent.name,
        task_sha256=entry.task_sha256,
        approximate=bool(task.prompt_length),
        curves=tuple(curve_of(run) for run in runs if (run.folder / EPISODES).exists()),
        texts_seed=texts_seed,
        texts=tuple(map(written, texts)),
    )


def curve_of(run: Run) -> SeedCurve:
    """The learning curve of a run."""
    curve = learning_curve(run.folder)
    return SeedCurve(
        seed=run.record.seed,
        spent=run.record.tokens,
        tokens=tuple(curve.tokens.tolist()),
        score=None if curve.score is None else tuple(map(known, curve.score.mean.tolist())),
        expected_reward=tuple(map(digits, curve.reward.mean.tolist())),
        kl=tuple(map(known, curve.kl.mean.tolist())),
    )


def known(value: float) -> float | None:
    """A number of a curve; None where the recorder was not told what it needs."""
    return digits(value) if math.isfinite(value) else None


def runs_of(entry: Entry, runs: Sequence[Run]) -> list[Run]:
    """The runs that an entry was made of, by seed; as a run's record has them, score and all."""
    seeds = {seed.seed: seed for seed in entry.seeds}

    def belongs(run: Run) -> bool:
        record = run.record
        same = (record.env_id, record.agent.name) == (entry.env_id, entry.agent.name)
        seed = seeds.get(record.seed)
        return same and seed is not None and (seed.tokens, seed.score) == (record.tokens, record.score)

    return sorted(filter(belongs, runs), key=lambda run: run.record.seed)


def load_exhibits(folder: Path, entries: Sequence[Entry]) -> dict[tuple[str, str], Exhibit]:
    """Every exhibit of a folder of the leaderboard, by environment and agent.

    Raises:
        ValueError: a file that is none, lies under another's name, or is not of the entry that it names.
    """
    known_entries = {(entry.env_id, entry.agent.name): entry for entry in entries}
    found: dict[tuple[str, str], Exhibit] = {}
    for path in sorted((folder / "exhibits").glob("*.json")):
        exhibit = Exhibit.load(path)
        whose = exhibit.env_id, exhibit.agent
        if path.stem != file_stem(*whose):
            raise ValueError(f"{path}: this exhibit's file must be called {file_stem(*whose)}.json")
        problem = exhibit.problem_with(known_entries.get(whose))
        if problem:
            raise ValueError(f"{path}: {problem}; take it away, or make it anew by leaderboard.exhibits")
        found[whose] = exhibit
    return found


def told(exhibit: Exhibit) -> str:
    """What an exhibit has, and where what it lacks would have come from."""
    curves = f"{len(exhibit.curves)} curves" if exhibit.curves else f"no curve (no run has {EPISODES})"
    missing = f"no texts (no run has {' or '.join(POLICIES)})"
    return f"{curves}, {f'{len(exhibit.texts)} texts' if exhibit.texts else missing}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.exhibits", description="Write curves and texts of entries' runs."
    )
    parser.add_argument("runs", type=Path, help=f"folder of runs: each folder with a {FILE} in it is one")
    options = parser.parse_args(arguments)
    try:
        runs = [Run(path.parent, RunRecord.load(path)) for path in sorted(options.runs.rglob(FILE))]
        shown = 0
        for entry in load_entries(ENTRIES):
            own = runs_of(entry, runs)
            if own:
                shown += 1
                exhibit = exhibit_of(entry, own)
                exhibit.save(exhibit_path(entry.env_id, entry.agent.name, FOLDER))
                stem = entry_path(entry.env_id, entry.agent.name, ENTRIES).stem
                print(f"{stem}: {told(exhibit)}", flush=True)
    except ValueError as error:
        parser.error(str(error))
    if not shown:
        parser.error(f"no run under {options.runs} is of an entry in {ENTRIES.relative_to(FOLDER.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
