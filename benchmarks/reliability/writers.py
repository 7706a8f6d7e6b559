"""Eight processes that write at once: one ledger, one folder of results and entries, one board."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from benchmarks.reliability.record import ROOT, Finding, as_json, module
from benchmarks.reliability.small_agent import ENV_ID, NAME, suite
from klrl_envs.ledger import VARIABLE, read_ledger
from klrl_envs.results.document import Document
from klrl_envs.results.entry import Entry, entry_path, load_entries
from klrl_envs.results.record import RunRecord
from leaderboard.build import build, verify
from leaderboard.folder import ENTRIES

TITLE = "Writers at once"
ABOUT = """Eight processes begin at once and write to one place. A ledger must hold every token that each
has written. Eight `benchmarks.run` of one suite, in one folder and with one folder of entries, must start
each run once and leave an entry of all seeds; and so must eight of which each is asked for one of the
entry's seeds. Eight who add an entry each to a board and build it must leave the pages that a single one
builds of all."""

WRITERS = 8
SEEDS = 5
"""As many as an entry may have."""
TOKENS = 5_000
PAGES, HISTORY = ("TABLE.md", "index.html"), "history.json"

Words = Sequence[str]


def at_once(commands: Sequence[Words], environment: dict[str, str] | None = None) -> list[str]:
    """What processes print that run at once.

    Raises:
        RuntimeError: one has failed.
    """
    running = [
        subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, **(environment or {})}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for words in commands
    ]  # fmt: skip
    said = [process.communicate() for process in running]
    for process, (_, error) in zip(running, said):
        if process.returncode:
            raise RuntimeError(f"{process.args}: {error.strip()[-2_000:]}")
    return [out for out, _ in said]


def ledger(folder: Path, writers: int = WRITERS) -> Finding:
    """Processes that count in one ledger."""
    path = folder / "ledger.jsonl"
    said = at_once([module(__name__, "play", str(TOKENS))] * writers, {VARIABLE: str(path)})
    return of_ledger(path, [int(each) for each in said])


def of_ledger(path: Path, written: Sequence[int]) -> Finding:
    """A ledger against what was written."""
    wanted, lines = sum(written), len(path.read_text(encoding="utf-8").splitlines())
    try:
        seen = read_ledger(path).tokens
    except ValueError as error:
        return Finding(what="one ledger", seen=f"torn: {error}", limit=f"{wanted:,} tokens", holds=False)
    return Finding(
        what=f"one ledger, {len(written)} writers",
        seen=f"{seen:,} tokens in {lines} lines",
        limit=f"{wanted:,} tokens in {len(written)} lines",
        holds=(seen, lines) == (wanted, len(written)),
    )


def results(folder: Path, writers: int = WRITERS, seeds: int = SEEDS, *, apart: bool) -> Finding:
    """Benchmarks of one suite in one folder; each is asked for one seed where they run apart."""
    folder.mkdir()
    path, calls = folder / "suite.json", folder / "calls.jsonl"
    path.write_text(suite(seeds, str(calls)), encoding="utf-8")
    words = module(
        "benchmarks.run", "--suite", str(path), "--out", str(folder / "out"),
        "--entries", str(folder / "entries"), "--threads", "1",
    )  # fmt: skip
    at_once([[*words, *(["--only", f"seed={number % seeds}"] if apart else [])] for number in range(writers)])
    what = "one entry, one of its seeds each" if apart else "one folder of results, the same suite each"
    return of_results(folder, f"{what}, {writers} benchmarks of {seeds} seeds", seeds)


def of_results(folder: Path, what: str, seeds: int) -> Finding:
    """What lies in a folder of results against what was run."""
    starts = Counter(json.loads(line)["seed"] for line in (folder / "calls.jsonl").open(encoding="utf-8"))
    whole = [RunRecord.load(path).seed for path in (folder / "out").rglob("result.json")]
    entry = Entry.load(entry_path(ENV_ID, NAME, folder / "entries"))
    kept = [seed.seed for seed in entry.seeds]
    left = leftovers(folder)
    once = sum(count == 1 for count in starts.values())
    wanted = list(range(seeds))
    return Finding(
        what=what,
        seen=f"{once} runs started once, {len(starts) - once} more often; {len(whole)} results and "
        f"{len(kept)} seeds of the entry whole; {len(left)} torn files",
        limit=f"{seeds} once, 0 more often; {seeds} and {seeds} whole; 0 torn",
        holds=once == len(starts) == seeds and sorted(whole) == kept == wanted and not left,
    )


def leftovers(folder: Path) -> list[Path]:
    """Files in a folder that are not whole: unfinished ones, and JSON that cannot be read."""
    unfinished = [path for path in folder.rglob("*") if path.suffix in (".tmp", ".partial")]
    return unfinished + [path for path in folder.rglob("*.json") if not readable(path)]


def readable(path: Path) -> bool:
    """Whether a file is JSON."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def board(folder: Path, writers: int = WRITERS) -> Finding:
    """Processes that add an entry each, and build."""
    chosen = sorted(ENTRIES.glob("*.json"))[:writers]
    at_once([module(__name__, "build", str(folder / "board"), str(path)) for path in chosen])
    for path in chosen:
        add(folder / "alone", path)
    shutil.copy(folder / "board" / HISTORY, folder / "alone")  # in which order they came
    build(folder / "alone", folder / "README.md", verifier=verify)
    return of_board(folder / "board", folder / "alone", len(chosen))


def of_board(seen: Path, wanted: Path, writers: int) -> Finding:
    """A board that many have built against one that was built alone."""
    entries = len(load_entries(seen / ENTRIES.name))
    same = sum((seen / name).read_text("utf-8") == (wanted / name).read_text("utf-8") for name in PAGES)
    return Finding(
        what=f"one board, {writers} who add an entry and build",
        seen=f"{entries} entries, {same} of {len(PAGES)} pages the same, {len(leftovers(seen))} torn files",
        limit=f"{writers} entries, all the same, 0 torn",
        holds=entries == writers and same == len(PAGES) and not leftovers(seen),
    )


def add(folder: Path, path: Path) -> None:
    """Put an entry into a board."""
    entry: Document = Entry.load(path)
    entry.save(folder / ENTRIES.name / path.name)


def measure(writers: int = WRITERS) -> list[Finding]:
    """All of them write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            ledger(folder, writers),
            results(folder / "together", writers, apart=False),
            results(folder / "apart", writers, apart=True),
            board(folder, writers),
        ]


def play(tokens: int) -> int:
    """Write tokens, and return how many."""
    import klrl_envs  # noqa: F401

    env: Any = gym.make_vec(ENV_ID, num_envs=2)
    env.reset(seed=0)
    while env.unwrapped.engine.taken < tokens:
        env.step(env.action_space.sample())
    return int(env.unwrapped.engine.taken)


if __name__ == "__main__":
    task, *given = sys.argv[1:]
    if task == "play":
        print(as_json(play(int(given[0]))))
    else:
        add(Path(given[0]), Path(given[1]))
        build(Path(given[0]), Path(given[0], "README.md"), verifier=verify)
