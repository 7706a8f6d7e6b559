"""Run a suite's commands, go on where it was stopped, and write entries as seeds are finished."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from klrl_envs.results.benchmark import LOG, Benchmark, Failure
from klrl_envs.results.plan import Group, PlannedRun
from klrl_envs.results.progress import Clock, duration, progress
from klrl_envs.results.provenance import commit
from klrl_envs.results.record import RunRecord

LOG_TAIL = 30
"""Lines of a failed run's log that are shown."""


def run_suite(runs: Sequence[PlannedRun], benchmark: Benchmark, *, jobs: int = 1) -> list[Failure]:
    """Run what is not done yet, write the entries, and return what failed.

    Args:
        runs: the suite, expanded and chosen from.
        benchmark: where to write and how to check.
        jobs: how many runs at once.
    """
    clock = Clock(jobs)
    todo, records = _resume(runs, benchmark, clock)
    # A kill may have come between a seed's record and its entry.
    failures: list[Failure] = []
    for run in {run.group: run for run in runs}.values():
        failures += benchmark.write_entry(run, records[run.group])
    waiting, running = list(todo), dict[PlannedRun, float]()

    def one(run: PlannedRun) -> RunRecord | Failure:
        waiting.remove(run)
        running[run] = time.monotonic()
        try:
            outcome = benchmark.execute(run)
        except Exception as error:  # of one run: the others go on, and this one is reported
            outcome = Failure(run, repr(error), benchmark.folder(run) / LOG)
        seconds = time.monotonic() - running.pop(run)
        if isinstance(outcome, RunRecord):
            clock.saw(run, seconds)
        return outcome

    def left() -> str:
        now = ", ".join(map(str, list(running)))
        return f"left: {duration(clock.left(list(waiting), dict(running)))}  {now}"

    with progress(len(todo), left) as (say, advance), ThreadPoolExecutor(jobs) as pool:
        say(f"{len(runs)} runs, {len(runs) - len(todo)} done before, {len(todo)} to do, {jobs} at once")
        before = sorted({record.commit for group in records.values() for record in group} - {commit(Path())})
        if before:
            say(f"some are of commit {', '.join(before)}; remove them from {benchmark.out} to do them again")
        futures = {pool.submit(one, run): run for run in todo}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                run, outcome = futures[future], future.result()
                advance()
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    records[run.group].append(outcome)
                    failures += benchmark.write_entry(run, records[run.group])
                say(f"[{number}/{len(todo)}] {run}: {_told(outcome, left)}")
        except BaseException:
            benchmark.processes.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def _resume(
    runs: Sequence[PlannedRun], benchmark: Benchmark, clock: Clock
) -> tuple[list[PlannedRun], dict[Group, list[RunRecord]]]:
    """The runs that are to do, and the records of those that were done here; the clock learns of all done."""
    todo: list[PlannedRun] = []
    records: dict[Group, list[RunRecord]] = {run.group: [] for run in runs}
    for run in runs:
        done = benchmark.finished(run)
        if done is not None:
            records[run.group].append(done)
        else:
            done = next((record for record in benchmark.recorded(run) if record.seed == run.seed), None)
        if done is None:
            todo.append(run)
        else:
            clock.saw(run, done.seconds)
    return todo, records


def _told(outcome: RunRecord | Failure, left: Callable[[], str]) -> str:
    """What came out of a run, in a line."""
    if isinstance(outcome, Failure):
        last = log_lines(outcome.log)[-1:]
        said = f": {last[0].strip()}" if last and last[0].strip() else ""
        return f"FAILED, {outcome.reason}{said} ({outcome.log})"
    score = "no score" if outcome.score is None else f"score {outcome.score:.3f}"
    return f"{score}, KL {outcome.kl:.2f} nats, {duration(outcome.seconds)}; {left()}"


def log_lines(log: Path) -> list[str]:
    """The lines of a run's log, none where it has none; of a progress bar what it showed last."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")
    return [line.rstrip().rpartition("\r")[2] for line in lines]


def report_failures(failures: Sequence[Failure]) -> None:
    """Say on standard error which runs failed, with the end of each log."""
    for failure in failures:
        run = failure.run
        place = " ".join(filter(None, (run.env_id, run.slug)))
        print(f"\n{run.agent} on {place}, seed {run.seed}: {failure.reason}", file=sys.stderr)
        print(f"  log: {failure.log}", file=sys.stderr)
        for line in log_lines(failure.log)[-LOG_TAIL:]:
            print(f"  | {line}", file=sys.stderr)
    if failures:
        print(f"\n{len(failures)} runs failed", file=sys.stderr)
