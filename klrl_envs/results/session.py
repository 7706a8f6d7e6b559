"""A suite run from a command line: its commands, or their outcomes, and an exit code."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.outcome import finished, outcomes_of, plain_scores, summary_table
from klrl_envs.results.plan import PlannedRun
from klrl_envs.results.runner import report_failures, run_suite

STOPPED, ENDED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells have them."""


def run_session(
    runs: Sequence[PlannedRun],
    benchmark: Benchmark,
    *,
    jobs: int = 1,
    console: Console | None = None,
    as_json: bool = False,
) -> int:
    """Run what is not done yet, print a table of all that is, and say what failed.

    Args:
        runs: of the suite.
        benchmark: where to write and how to check.
        jobs: how many runs at once.
        console: where the table goes; standard output by default.
        as_json: print JSON in place of the table.

    Returns:
        The exit code: 1 where a run failed.
    """
    signal.signal(signal.SIGTERM, end)  # so that the commands end with the benchmark
    try:
        failures = run_suite(runs, benchmark, jobs=jobs)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return STOPPED
    found = outcomes_of(finished(runs, benchmark))
    console = console or Console()
    if as_json:
        console.print(
            json.dumps(plain_scores(found), indent=2), markup=False, highlight=False, soft_wrap=True
        )
    elif found:
        console.print(summary_table(found))
    report_failures(failures)
    return 1 if failures else 0


def end(number: int, frame: object) -> None:
    """End this process as a signal asks."""
    sys.exit(ENDED)


def print_commands(runs: Sequence[PlannedRun], benchmark: Benchmark) -> int:
    """Print the commands of runs; the exit code is 0."""
    for run in runs:
        print(run.template.replace("{seed}", str(run.seed)).replace("{out}", str(benchmark.folder(run))))
    return 0
