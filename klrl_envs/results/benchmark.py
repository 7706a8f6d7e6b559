"""A suite being run: where runs write, which are done, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from klrl_envs.networks.files import SUFFIXES
from klrl_envs.results.curve import EPISODES
from klrl_envs.results.document import held, write_atomically
from klrl_envs.results.entry import Entry, entry_path, file_stem, merge
from klrl_envs.results.guard import check_entry, check_record, entry_interval
from klrl_envs.results.ledger import LEDGER, check_ledger, read_ledger
from klrl_envs.results.plan import PlannedRun
from klrl_envs.results.processes import Processes, end_orphans, words_of
from klrl_envs.results.record import FILE, Bounds, RunRecord
from klrl_envs.results.rules import task_sha256
from klrl_envs.results.statistics import SharedError, shared_error_on
from klrl_envs.tasks.row import NAMESPACE

LOG = "log.txt"
STAMP = "run.json"
COMMAND_SLACK = 1.25
"""Over the command's tokens: the last batch weighs more in a small budget than in the environment's own."""


@dataclass
class Failure:
    """A run that failed: why, and where its log lies."""

    run: PlannedRun
    reason: str
    log: Path


@dataclass
class Benchmark:
    """A suite being run.

    Attributes:
        out: where runs write, `<env>--<agent>/seed-<n>/`, or `<env>--<agent>--<settings>/seed-<n>/`.
        entries: the folder of entries, or None to write and trust none.
        threads: threads that a run may use.
        trusting: whether the entries hold runs that were made elsewhere, or are made of those here alone.
        shared_error: see ``SharedError``.
        fingerprint: maps an environment's id and settings to the SHA-256 of the task.
        check: raises ValueError where a record contradicts itself or a rule that holds with any settings.
        rules: raises ValueError where an entry contradicts itself or the leaderboard's rules.
        processes: the commands that run.
    """

    out: Path
    entries: Path | None
    threads: int
    trusting: bool = True
    shared_error: SharedError = shared_error_on
    fingerprint: Callable[[str, str], str] = task_sha256
    check: Callable[[RunRecord], None] = check_record
    rules: Callable[[Entry], None] = check_entry
    processes: Processes = field(default_factory=Processes)

    def folder(self, run: PlannedRun) -> Path:
        """Where a run writes."""
        # an agent's name holds no "=", and settings always do
        name = "--".join(filter(None, (file_stem(run.env_id, run.agent), run.slug)))
        return self.out / name / f"seed-{run.seed}"

    def finished(self, run: PlannedRun) -> RunRecord | None:
        """The record of a run that was made before by the same command on the same task, or None."""
        folder = self.folder(run)
        try:
            started = json.loads((folder / STAMP).read_text(encoding="utf-8"))
            record = RunRecord.load(folder / FILE)
        except (OSError, ValueError):
            return None
        return record if started == self.stamp(run) and self.fault(run, record) is None else None

    def stamp(self, run: PlannedRun) -> dict[str, Any]:
        """What identifies a run: written beside its record, compared on resuming."""
        sha256 = self.fingerprint(run.env_id, run.settings)
        return {"command": run.template, "seed": run.seed, "task_sha256": sha256}

    def fault(self, run: PlannedRun, record: RunRecord) -> str | None:
        """What is wrong with a record as the outcome of a run, or None."""
        wanted = {
            "agent.name": (run.agent, record.agent.name),
            "env_id": (run.env_id, record.env_id),
            "env_kwargs": (run.env_kwargs, record.env_kwargs),
            "seed": (run.seed, record.seed),
            "task_sha256": (self.fingerprint(run.env_id, run.settings), record.task_sha256),
        }
        for name, (expected, seen) in wanted.items():
            if expected != seen:
                return f"result.json has {name} {seen!r}, not {expected!r}"
        if record.tokens > run.tokens * COMMAND_SLACK:
            return f"result.json has tokens {record.tokens:,}, more than the {run.tokens:,} of its command"
        try:
            self.check(record)
            check_ledger(record, read_ledger(self.folder(run) / LEDGER))
        except ValueError as error:
            return str(error)
        return None

    def execute(self, run: PlannedRun) -> RunRecord | Failure:
        """Start a run's command and wait for it.

        Where another benchmark runs it in the same folder, its outcome is waited for, and counts for both.
        """
        folder = self.folder(run)
        with held(folder, lambda: self.processes.stopped) as mine:
            if not mine:
                return Failure(run, "was not started", folder / LOG)
            return self.finished(run) or self._execute(run, folder)

    def _execute(self, run: PlannedRun, folder: Path) -> RunRecord | Failure:
        """Start a run's command in a folder that is held, and wait for it."""
        folder.mkdir(parents=True, exist_ok=True)
        end_orphans(folder)
        policies = (f"policy{suffix}" for suffix in SUFFIXES)
        for name in (FILE, STAMP, LEDGER, EPISODES, *policies):  # lines would be added to those of before
            (folder / name).unlink(missing_ok=True)
        write_atomically(folder / STAMP, json.dumps(self.stamp(run), indent=2) + "\n")
        log = folder / LOG
        words = words_of(run.template, {"{seed}": str(run.seed), "{out}": str(folder)})
        try:
            code = self.processes.run(words, folder, log, threads=self.threads)
        except OSError as error:
            return Failure(run, f"could not be started: {error}", log)
        if code is None:
            return Failure(run, "was not started", log)
        if code != 0:
            (folder / STAMP).unlink(missing_ok=True)  # whatever it has written is not finished
            return Failure(run, f"ended with exit code {code}", log)
        try:
            record = RunRecord.load(folder / FILE)
        except ValueError as error:
            return Failure(run, f"wrote no valid result: {error}", log)
        fault = self.fault(run, record)
        return Failure(run, fault, log) if fault else record

    def entry(self, run: PlannedRun) -> Path | None:
        """The file of the entry that a run belongs to.

        None where it makes none: entries are of the suite's tasks as they are registered.
        """
        if self.entries is None or run.env_kwargs or not run.env_id.startswith(f"{NAMESPACE}/"):
            return None
        return entry_path(run.env_id, run.agent, self.entries)

    def recorded(self, run: PlannedRun) -> list[RunRecord]:
        """The seeds of the same agent, environment, command and task that are known already: those that the
        entry holds, or else, where entries are not trusted, those whose runs lie here.
        """
        path = self.entry(run)
        if not self.trusting:
            places = sorted(self.folder(run).parent.glob("seed-*"))
            numbers = [int(place.name[5:]) for place in places if place.name[5:].isdecimal()]
            found = [self.finished(replace(run, seed=number)) for number in numbers]
            return [record for record in found if record is not None]
        if path is None or not path.exists():
            return []
        try:
            entry = Entry.load(path)
        except ValueError as error:
            raise SystemExit(f"an entry is damaged, mend or remove it: {error}") from error
        if entry.tier == "older":
            return []  # its seeds do not say how they were evaluated, so that nobody can check them
        if entry.command != run.template or entry.task_sha256 != self.fingerprint(run.env_id, "{}"):
            return []
        return entry.records()

    def write_entry(self, run: PlannedRun, records: Sequence[RunRecord]) -> list[Failure]:
        """Write the entry of a run's agent and environment from finished runs and those on record.

        Returns:
            A failure where the seeds together make no valid entry, or it cannot be written; else nothing.
        """
        path = self.entry(run)
        if path is None or not self._seeds(run, records)[1]:
            return []  # what is on record stays, with the tier that it may have earned
        try:
            with held(path.parent):  # other benchmarks may write other seeds of it
                there, new = self._seeds(run, records)
                interval = self.score_interval([*there, *new])
                entry = merge([*there, *new], command=run.template, tier="submitted", score_interval=interval)
                self.rules(entry)
                if new:
                    entry.save(path)
        except ValueError as error:
            return [Failure(run, f"makes no valid entry {path}: {error}", self.folder(run) / LOG)]
        except OSError as error:
            return [Failure(run, f"has a result, but no entry: {error}", self.folder(run) / LOG)]
        return []

    def _seeds(
        self, run: PlannedRun, records: Sequence[RunRecord]
    ) -> tuple[list[RunRecord], list[RunRecord]]:
        """What an entry keeps as it is, and what of finished runs it lacks."""
        there = self.recorded(run) if self.trusting else []
        known = {record.seed for record in there}
        return there, [
            record
            for record in (records if self.trusting else self.recorded(run))
            if record.seed not in known
        ]

    def score_interval(self, seeds: Sequence[RunRecord]) -> Bounds | None:
        """The interval of the mean score of an entry's seeds; None where a seed has no score."""
        return entry_interval(seeds[0].env_id, seeds, self.shared_error)
