"""A benchmark that is killed and goes on: no seed is lost or counted too low, and nothing is left running."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability.kills import KILLS, Subject, killed
from benchmarks.reliability.record import Finding, module
from benchmarks.reliability.small_agent import ENV_ID, NAME, SUITE_TOKENS, suite
from klrl_envs.ledger import read_ledger
from klrl_envs.results.entry import Entry, entry_path
from klrl_envs.results.processes import processes_of
from klrl_envs.results.record import RunRecord

TITLE = "SIGKILL of a benchmark"
ABOUT = """`python -m benchmarks.run` is killed at random moments, and begun again by the same command,
until its suite is done. What it was running is left behind, and must have ended before its seed is begun
anew. The entry must have the numbers of an undisturbed benchmark, seed by seed, and each record the tokens
that the ledger of its run has."""

SEEDS = 3
NUMBERS = (
    "seed",
    "score",
    "score_interval",
    "objective",
    "expected_reward",
    "kl",
    "regret",
    "tokens",
    "budget",
)


def subject(seeds: int = SEEDS) -> Subject:
    """The benchmark of a small suite."""

    def command(folder: Path) -> list[str]:
        path = folder.with_name(f"{folder.name}.json")  # beside it: the folder may be a disk that is full
        path.write_text(suite(seeds), encoding="utf-8")
        return module(
            "benchmarks.run", "--suite", str(path), "--out", str(folder / "out"),
            "--entries", str(folder / "entries"), "--threads", "1",
        )  # fmt: skip

    def finished(folder: Path) -> bool:
        path = entry_path(ENV_ID, NAME, folder / "entries")
        return path.exists() and len(Entry.load(path).seeds) == seeds

    return Subject(command, finished)


def numbers(folder: Path) -> list[tuple[object, ...]]:
    """What an entry says of each seed, but seconds."""
    entry = Entry.load(entry_path(ENV_ID, NAME, folder / "entries"))
    return [tuple(getattr(seed, name) for name in NUMBERS) for seed in entry.seeds]


def too_low(folder: Path) -> int:
    """Records that state fewer tokens than their ledger has, or than their run must write."""
    low = 0
    for path in (folder / "out").rglob("result.json"):
        stated, truth = RunRecord.load(path).tokens, read_ledger(path.with_name("ledger.jsonl")).tokens
        low += stated < max(truth, SUITE_TOKENS)
    return low


def left_running(folder: Path) -> int:
    """Processes of runs that are there still; one that has written its result has a second to end."""
    time.sleep(1.0)
    return sum(len(processes_of(path)) for path in (folder / "out").glob("*/seed-*"))


def judged(whole: Path, lives: Sequence[Path], kills: int) -> list[Finding]:
    """What the killed benchmarks have left against the one that was not."""
    same = sum(numbers(life) == numbers(whole) for life in lives)
    low = sum(map(too_low, lives))
    left = sum(map(left_running, lives))
    return [
        Finding(
            what=f"{kills} kills, {len(lives)} benchmarks of {len(numbers(whole))} seeds",
            seen=f"{same} entries with the numbers of the undisturbed one; {low} records too low; "
            f"{left} processes left",
            limit="all; 0; 0",
            holds=same == len(lives) and not low and not left,
        )
    ]


def measure(kills: int = KILLS, seeds: int = SEEDS) -> list[Finding]:
    """Kill it, and compare."""
    with tempfile.TemporaryDirectory() as name:
        whole, lives = killed(subject(seeds), Path(name), kills, seed=3)
        return judged(whole, lives, kills)
