"""Run agents x environments x seeds as commands, and turn the files that they write into leaderboard entries.

    python -m benchmarks.run --suite core --out runs/core [--jobs 1] [--only agent=ppo] [--threads N]

A run is done once: it is left out where its `result.json` is valid and of the same command and task, or
where the committed entries hold it already. After every seed the entry is written anew, so that a kill
loses one seed's work at the most and another machine can go on from what was committed. A failed run does
not stop the others, but the benchmark then ends with exit code 1 and says which failed, with the end of
each log.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.suites import RESULTS_ONLY, Run, expand, load_suite
from klrl_envs.results.progress import Clock, duration, progress
from klrl_envs.results.schema import (
    Entry,
    Result,
    check_rules,
    check_run,
    entry_path,
    load_entry,
    load_result,
    merge,
    results_of,
    task_sha256,
    to_json,
    write_atomically,
)
from leaderboard.folder import ENTRIES
from leaderboard.statistics import mean_interval

LOG_TAIL = 30  # lines of a failed run's log that are shown
# Over the command's tokens: the last batch weighs more in a small budget than in the environment's own.
COMMAND_SLACK = 1.25


@dataclass
class Failure:
    """A run that failed: why, and where its log lies."""

    run: Run
    reason: str
    log: Path


@dataclass
class Benchmark:
    """A suite being run.

    Attributes:
        out: where runs write, `<env>--<agent>/seed-<n>/`, or `<env>--<agent>--<settings>/seed-<n>/`.
        entries: the folder of entries, or None to write and trust none.
        threads: threads that a run may use.
        tier: who runs it, written into the entries.
        fingerprint: maps an environment's id and settings to the SHA-256 of the task.
        check: raises ValueError where a result breaks a rule that holds with any settings.
        rules: raises ValueError where an entry breaks the leaderboard's rules.
    """

    out: Path
    entries: Path | None
    threads: int
    tier: str = "submitted"
    fingerprint: Callable[[str, str], str] = task_sha256
    check: Callable[[Result], None] = check_run
    rules: Callable[[Entry], None] = check_rules
    children: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def folder(self, run: Run) -> Path:
        """Where a run writes."""
        # an agent's name holds no "=", and settings always do
        name = "--".join(filter(None, (entry_path(run.env_id, run.agent, ENTRIES).stem, run.slug)))
        return self.out / name / f"seed-{run.seed}"

    def finished(self, run: Run) -> Result | None:
        """The result of a run that was made before by the same command on the same task, or None."""
        folder = self.folder(run)
        try:
            started = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            result = load_result(folder / "result.json")
        except (OSError, ValueError):
            return None
        return result if started == self.stamp(run) and self.fault(run, result) is None else None

    def stamp(self, run: Run) -> dict[str, Any]:
        """What identifies a run: written beside its result, compared on resuming."""
        sha256 = self.fingerprint(run.env_id, run.settings)
        return {"command": run.template, "seed": run.seed, "task_sha256": sha256}

    def fault(self, run: Run, result: Result) -> str | None:
        """What is wrong with a result as the outcome of a run, or None."""
        wanted = {
            "agent.name": (run.agent, result.agent.name),
            "env_id": (run.env_id, result.env_id),
            "env_kwargs": (run.env_kwargs, result.env_kwargs),
            "seed": (run.seed, result.seed),
            "task_sha256": (self.fingerprint(run.env_id, run.settings), result.task_sha256),
        }
        for name, (expected, seen) in wanted.items():
            if expected != seen:
                return f"result.json has {name} {seen!r}, not {expected!r}"
        if result.tokens > run.tokens * COMMAND_SLACK:
            return f"result.json has tokens {result.tokens:,}, more than the {run.tokens:,} of its command"
        try:
            self.check(result)
        except ValueError as error:
            return str(error)
        return None

    def entry(self, run: Run) -> Path | None:
        """The file of the entry that a run belongs to; None where it makes none: entries are of the task as
        it is registered.
        """
        if self.entries is None or run.env_kwargs:
            return None
        return entry_path(run.env_id, run.agent, self.entries)

    def recorded(self, run: Run) -> list[Result]:
        """The seeds that the entries hold already of the same agent, environment, command and task."""
        path = self.entry(run)
        if path is None or not path.exists():
            return []
        try:
            entry = load_entry(path)
        except ValueError as error:
            raise SystemExit(f"an entry is damaged, mend or remove it: {error}") from error
        if self.tier == "reproduced" and entry.tier != "reproduced":
            return []  # what others say that they saw was not seen here
        if entry.command != run.template or entry.task_sha256 != self.fingerprint(run.env_id, "{}"):
            return []
        return results_of(entry)

    def execute(self, run: Run) -> Result | Failure:
        """Start a run's command and wait for it."""
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        end_orphan(folder)
        for name in ("result.json", "run.json", "policy.safetensors"):
            (folder / name).unlink(missing_ok=True)
        write_atomically(folder / "run.json", json.dumps(self.stamp(run), indent=2) + "\n")
        log = folder / "log.txt"
        words = [
            {"{seed}": str(run.seed), "{out}": str(folder)}.get(word, word)
            for word in shlex.split(run.template)
        ]
        if words[0] in ("python", "python3"):
            words[0] = sys.executable  # the interpreter that has klrl_envs
        threads = {
            name: str(self.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        with log.open("wb") as stream:
            try:
                with self.lock:
                    if self.stopped.is_set():
                        return Failure(run, "was not started", log)
                    child = subprocess.Popen(
                        words,
                        stdin=subprocess.DEVNULL,
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                        env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **threads, "PYTHONUNBUFFERED": "1"},
                        start_new_session=True,
                    )
                    self.children.add(child)
                (folder / "pid").write_text(str(child.pid), encoding="utf-8")
            except OSError as error:
                return Failure(run, f"could not be started: {error}", log)
            code = child.wait()
            (folder / "pid").unlink(missing_ok=True)
            with self.lock:
                self.children.discard(child)
        if code != 0:
            (folder / "run.json").unlink()  # whatever it has written is not finished
            return Failure(run, f"ended with exit code {code}", log)
        try:
            result = load_result(folder / "result.json")
        except ValueError as error:
            return Failure(run, f"wrote no valid result: {error}", log)
        fault = self.fault(run, result)
        return Failure(run, fault, log) if fault else result

    def stop(self) -> None:
        """End the commands that run, with whatever they have started."""
        self.stopped.set()
        with self.lock:
            for child in self.children:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)

    def write_entry(self, run: Run, results: Sequence[Result]) -> list[Failure]:
        """Write the entry of a run's agent and environment from finished results and those on record.

        Returns:
            A failure where the seeds together make no valid entry, else nothing.
        """
        path = self.entry(run)
        if path is None or not results:
            return []
        try:
            by_seed = {result.seed: result for result in [*self.recorded(run), *results]}
            entry = merge(
                by_seed.values(), command=run.template, tier=self.tier, interval=interval_of(by_seed)
            )
            self.rules(entry)
        except ValueError as error:
            return [Failure(run, f"makes no valid entry {path}: {error}", self.folder(run) / "log.txt")]
        text = to_json(entry)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
        return []


def end_orphan(folder: Path) -> None:
    """End the command that a benchmark which was killed has left behind in a run's folder (on Linux)."""
    with suppress(OSError, ValueError):
        pid = int((folder / "pid").read_text(encoding="utf-8"))
        if str(folder) in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
            os.killpg(pid, signal.SIGTERM)


def interval_of(results: Mapping[int, Result]) -> tuple[float, float] | None:
    """The interval of the mean score of an entry's seeds; None where a seed has no score."""
    scores = [result.score for result in results.values() if result.score is not None]
    intervals = [result.score_interval for result in results.values() if result.score_interval is not None]
    return mean_interval(scores, intervals) if len(scores) == len(results) else None


def run_suite(runs: Sequence[Run], benchmark: Benchmark, *, jobs: int = 1) -> list[Failure]:
    """Run what is not done yet, write the entries, and return what failed.

    Args:
        runs: the suite, expanded and chosen from.
        benchmark: where to write and how to check.
        jobs: how many runs at once.
    """
    clock = Clock(jobs)
    results: dict[tuple[str, str, str], list[Result]] = {}
    todo: list[Run] = []
    for run in runs:
        group = results.setdefault(run.group, [])
        done = benchmark.finished(run)
        if done is not None:
            group.append(done)
        else:
            done = next((result for result in benchmark.recorded(run) if result.seed == run.seed), None)
        if done is None:
            todo.append(run)
        else:
            clock.saw(run, done.seconds)
    # A kill may have come between a seed's result and its entry.
    failures: list[Failure] = []
    for run in {run.group: run for run in runs}.values():
        failures += benchmark.write_entry(run, results[run.group])
    waiting, running = list(todo), dict[Run, float]()

    def one(run: Run) -> Result | Failure:
        waiting.remove(run)
        running[run] = time.monotonic()
        try:
            outcome = benchmark.execute(run)
        except Exception as error:  # of one run: the others go on, and this one is reported
            outcome = Failure(run, repr(error), benchmark.folder(run) / "log.txt")
        seconds = time.monotonic() - running.pop(run)
        if isinstance(outcome, Result):
            clock.saw(run, seconds)
        return outcome

    def left() -> str:
        now = ", ".join(map(str, list(running)))
        return f"left: {duration(clock.left(list(waiting), dict(running)))}  {now}"

    with progress(len(todo), left) as (say, advance), ThreadPoolExecutor(jobs) as pool:
        say(f"{len(runs)} runs, {len(runs) - len(todo)} done before, {len(todo)} to do, {jobs} at once")
        futures = {pool.submit(one, run): run for run in todo}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                run, outcome = futures[future], future.result()
                advance()
                name = f"[{number}/{len(todo)}] {run}"
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                    say(f"{name}: FAILED, {outcome.reason}")
                    continue
                results[run.group].append(outcome)
                failures += benchmark.write_entry(run, results[run.group])
                score = "no score" if outcome.score is None else f"score {outcome.score:.3f}"
                say(f"{name}: {score}, KL {outcome.kl:.2f} nats, {duration(outcome.seconds)}; {left()}")
        except BaseException:
            benchmark.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def report(failures: Sequence[Failure]) -> None:
    """Say on standard error which runs failed, with the end of each log."""
    for failure in failures:
        run = failure.run
        place = " ".join(filter(None, (run.env_id, run.slug)))
        print(f"\n{run.agent} on {place}, seed {run.seed}: {failure.reason}", file=sys.stderr)
        print(f"  log: {failure.log}", file=sys.stderr)
        if failure.log.exists():
            lines = failure.log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")
            for line in lines[-LOG_TAIL:]:
                # A progress bar is one line: what it showed last.
                print(f"  | {line.rstrip().rpartition(chr(13))[2]}", file=sys.stderr)
    if failures:
        print(f"\n{len(failures)} runs failed", file=sys.stderr)


def choose(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """The runs that meet every condition `agent=NAME`, `env=ID` or `seed=N`; commas part alternatives.

    Raises:
        ValueError: a condition of another form, or one that leaves nothing.
    """
    chosen = list(runs)
    for condition in conditions:
        key, _, text = condition.partition("=")
        values = set(text.split(","))
        if key not in ("agent", "env", "seed") or not text:
            raise ValueError(f"only must be agent=NAME, env=ID or seed=N, not {condition!r}")
        chosen = [
            run
            for run in chosen
            if {"agent": run.agent, "env": run.env_id.removeprefix("klrl/"), "seed": str(run.seed)}[key]
            in values
            or (key == "env" and run.env_id in values)
        ]
        if not chosen:
            known = sorted({str({"agent": r.agent, "env": r.env_id, "seed": r.seed}[key]) for r in runs})
            raise ValueError(f"only {condition!r} leaves no run; {key} is one of {known}")
    return chosen


def positive(text: str) -> int:
    """An argument that is a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--suite", default="core", help="a name in benchmarks/suites.py, or a JSON file")
    parser.add_argument("--out", type=Path, help="where runs write; default runs/<suite>")
    parser.add_argument("--jobs", type=positive, default=1, help="runs at once")
    parser.add_argument("--threads", type=positive, help="threads a run; default the cores by the jobs")
    parser.add_argument(
        "--only", action="append", default=[], metavar="KEY=VALUE", help="agent=, env= or seed="
    )
    parser.add_argument("--entries", type=Path, default=ENTRIES, help="the folder of leaderboard entries")
    parser.add_argument(
        "--no-entries", action="store_true", help="write none, and run what is on record again"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    options = parser.parse_args(arguments)
    try:
        runs = choose(expand(load_suite(options.suite)), options.only)
    except ValueError as error:
        parser.error(str(error))
    own = options.suite == "core"
    benchmark = Benchmark(
        out=(options.out or Path("runs") / Path(options.suite).stem).resolve(),
        entries=None if options.no_entries or options.suite in RESULTS_ONLY else options.entries,
        threads=options.threads or max(1, (os.cpu_count() or 1) // options.jobs),
        tier="reproduced" if own else "submitted",
    )
    if options.dry_run:
        for run in runs:
            print(run.template.replace("{seed}", str(run.seed)).replace("{out}", str(benchmark.folder(run))))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the commands end with the benchmark
    try:
        failures = run_suite(runs, benchmark, jobs=options.jobs)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    report(failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
