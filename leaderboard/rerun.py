"""Run an entry's command again: its commit in a fresh clone, its libraries in a fresh virtual environment."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from klrl_envs.ledger import VARIABLE
from klrl_envs.networks.files import SUFFIXES
from klrl_envs.results.entry import SHARED, Entry, Seed, file_stem
from klrl_envs.results.ledger import LEDGER, check_ledger, read_ledger
from klrl_envs.results.processes import words_of
from klrl_envs.results.record import FILE, RunRecord
from klrl_envs.results.rules import check_run
from leaderboard.agreement import CONFIDENCE, rounding, same_mean

KEPT = re.compile(
    r"PATH|HOME|LANG|LC_.*|TMPDIR|TERM|CUDA_VISIBLE_DEVICES|OMP_.*|SSL_CERT_.*|PIP_.*|[A-Za-z]+_PROXY|[a-z]+_proxy"
)
"""What of our environment its processes see: PYTHONPATH and whatever else is ours stay here."""
READY = "ready"


class DisagreementError(ValueError):
    """Runs that were done again and do not bear an entry out.

    Attributes:
        records: of the new runs.
    """

    def __init__(self, message: str, records: Sequence[RunRecord]) -> None:
        super().__init__(message)
        self.records = records


@dataclass(frozen=True)
class Workplace:
    """Where an entry is run again: clone and environment of each commit, and a folder for each seed.

    Attributes:
        folder: of all that.
        source: what is cloned.
        https: whether it is cloned from elsewhere.
        foreign: whether the command is not this repository's, so that what it says of itself is not believed.
    """

    folder: Path
    source: str
    https: bool
    foreign: bool = False

    @classmethod
    def of(cls, entry: Entry, work: Path, checkout: Path, *, foreign: bool) -> Self:
        """The place of an entry under ``work``.

        Args:
            entry: an agent whose url is a path is of the repository at hand.
            work: the folder of all entries.
            checkout: of the repository at hand.
            foreign: whether code that is not of it may be run.

        Raises:
            ValueError: code from elsewhere that may not be run, or that no https names.
        """
        url = entry.agent.url
        # another command or commit is another run: what was run before does not stand for it
        commits = [[seed.seed, seed.commit or entry.commit] for seed in entry.seeds]
        digest = hashlib.sha256(json.dumps([url, entry.command, commits]).encode()).hexdigest()
        folder = work.absolute() / f"{file_stem(entry.env_id, entry.agent.name)}-{digest[:8]}"
        if url is None:
            raise ValueError("agent.url must say where the code is, and the entry has none")
        if "://" not in url:
            # the command is its author's word: of this repository is one that starts the file of the url
            words = shlex.split(entry.command)
            module = url.removesuffix(".py").replace("/", ".")
            own = words[:2] == ["python", url] or words[:3] == ["python", "-m", module]
            if not own and not foreign:
                raise ValueError(
                    f"running it again executes a command that does not start {url}: "
                    "--yes-run-foreign-code allows that"
                )
            return cls(folder, str(checkout), https=False, foreign=not own)
        if not url.startswith("https://"):
            raise ValueError(
                f"agent.url must be an https url of a git repository, or a path of this one, not {url!r}"
            )
        if not foreign:
            raise ValueError(
                f"running it again executes code of {url}, which is not of this repository: "
                "--yes-run-foreign-code allows that"
            )
        return cls(folder, url, https=True, foreign=True)

    def out(self, seed: int) -> Path:
        """The folder that a seed writes to."""
        return self.folder / f"seed-{seed}"

    def policy_of(self, seed: int) -> Path | None:
        """The policy that a seed has left, or None."""
        paths = (self.out(seed) / f"policy{suffix}" for suffix in SUFFIXES)
        return next((path for path in paths if path.exists()), None)


def rerun(entry: Entry, seed: Seed, place: Workplace, say: Callable[[str], None]) -> RunRecord:
    """The record of a seed that was run again, now or before.

    Raises:
        ValueError: a command that failed, or whose record is of something else.
    """
    out = place.out(seed.seed)
    if not (out / FILE).exists():
        commit = seed.commit or entry.commit
        clone = prepared(place, commit, say)
        out.mkdir(parents=True, exist_ok=True)
        python = str(interpreter(clone.with_name("venv")))
        values = {"{seed}": str(seed.seed), "{out}": str(out), "python": python, "python3": python}
        say(f"seed {seed.seed}: running at {commit[:12]}, with what it says in {out / 'log.txt'}")
        # what an earlier, failed run counted is not of this one
        (out / LEDGER).unlink(missing_ok=True)
        run(words_of(entry.command, values), clone, out / "log.txt", {VARIABLE: str(out / LEDGER)})
        if not (out / FILE).exists():
            raise ValueError(f"seed {seed.seed}: the command ended well and left no {out / FILE}")
    record = RunRecord.load(out / FILE)
    for name in SHARED[1:]:
        if getattr(record, name) != getattr(entry, name):
            seen = f"{getattr(record, name)!r}, not the entry's {getattr(entry, name)!r}"
            raise ValueError(f"seed {seed.seed}: the run says {name} {seen}")
    if (record.agent.name, record.seed) != (entry.agent.name, seed.seed):
        raise ValueError(f"seed {seed.seed}: the run is of {record.agent.name}, seed {record.seed}")
    check_run(record)
    check_ledger(record, read_ledger(out / LEDGER))
    say(f"seed {seed.seed}: objective {seed.objective:.6g} on record, {record.objective:.6g} again")
    return record


def check_rerun(entry: Entry, records: Sequence[RunRecord]) -> None:
    """Raise DisagreementError unless runs repeat the seeds on record, or Welch's test finds one mean."""
    on_record = {seed.seed: seed.objective for seed in entry.seeds}
    pairs = [(on_record[record.seed], record.objective) for record in records]
    if all(abs(first - second) <= rounding(first, second) for first, second in pairs):
        return
    claimed, again = list(on_record.values()), [second for _, second in pairs]
    if not same_mean(claimed, again):
        raise DisagreementError(
            f"the objectives on record have the mean {sum(claimed) / len(claimed):.6g}, those run again "
            f"{sum(again) / len(again):.6g}, and Welch's test at {CONFIDENCE:.0%} tells them apart",
            records,
        )


def prepared(place: Workplace, commit: str, say: Callable[[str], None]) -> Path:
    """The clone at a commit, with the virtual environment `venv` beside it; made once.

    Raises:
        ValueError: a commit that cannot be checked out, or an installation that failed.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError(f"commit must be 40 digits, to be checked out, not {commit!r}")
    home = place.folder / commit[:12]
    clone = home / "clone"
    if (home / READY).exists():
        return clone
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    log = home / "log.txt"
    say(f"cloning {place.source} at {commit[:12]} and installing it, with what is said in {log}")
    git = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https" if place.https else "file"}
    run(["git", "clone", "--no-checkout", "--", place.source, str(clone)], home, log, git)
    run(["git", "checkout", "--detach", commit], clone, log, git)
    run([sys.executable, "-m", "venv", str(home / "venv")], home, log)
    if (clone / "pyproject.toml").exists():
        pinned = ["-c", "constraints.txt"] if (clone / "constraints.txt").exists() else []
        pip = [str(interpreter(home / "venv")), "-m", "pip", "--disable-pip-version-check", "install"]
        run([*pip, *pinned, "-e", ".[agents]"], clone, log)
    (home / READY).touch()
    return clone


def interpreter(venv: Path) -> Path:
    """A virtual environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(words: Sequence[str], folder: Path, log: Path, more: Mapping[str, str] | None = None) -> None:
    """Run a command without a shell, what it says appended to a log; ValueError where it fails.

    Args:
        words: the command.
        folder: where it runs.
        log: the file.
        more: variables of its environment beside ``KEPT``.
    """
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **kept, "PYTHONUNBUFFERED": "1", **(more or {})}
    with log.open("ab") as stream:
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise ValueError(f"{words[0]} cannot be run: {error.strerror}") from None
    if done.returncode:
        said = f"{Path(words[0]).name} ended with exit code {done.returncode}: {last_line(log)[:200]}"
        raise ValueError(f"{said} (see {log})")


def last_line(log: Path) -> str:
    """The last line of a log that may be of any length."""
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 4096, 0))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
