"""Run agents x environments x seeds as commands, and turn the files that they write into leaderboard entries.

    python -m benchmarks.run --suite core --out runs/core [--jobs 1] [--only agent=ppo] [--threads N]

A run is done once: it is left out where its `result.json` is valid and of the same command and task, or
where the committed entries hold it already. After every seed the entry is written anew, so that a kill
loses one seed's work at the most and another machine can go on from what was committed. A failed run does
not stop the others, but the benchmark then ends with exit code 1 and says which failed, with the end of
each log. Several may run at once on one machine, in one folder and for one folder of entries: each run is
done by one of them, and counts for all. For an agent of one's own `klrl benchmark` does the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.suites import RESULTS_ONLY, SUITES
from klrl_envs import import_module
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.engine import ENGINES, Engine, engine_of
from klrl_envs.results.plan import choose, expand
from klrl_envs.results.session import print_commands, run_session
from klrl_envs.results.suites import load_suite
from leaderboard.folder import ENTRIES


def positive(text: str) -> int:
    """An argument that is a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=(__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--suite", default="core", help="a name in benchmarks/suites.py, or a JSON file")
    made.add_argument("--out", type=Path, help="where runs write; default runs/<suite>")
    made.add_argument("--jobs", type=positive, help="runs at once; default 1, on a cluster all that fit")
    made.add_argument(
        "--threads", type=positive, help="threads a run; default OMP_NUM_THREADS, or the cores by the jobs"
    )
    made.add_argument(
        "--engine", choices=ENGINES, default="local",
        help="processes here, or a Ray cluster (benchmarks/CLUSTER.md)",
    )  # fmt: skip
    made.add_argument(
        "--address",
        help="of the cluster, as ray.init takes it; default RAY_ADDRESS, or one that is made here",
    )
    made.add_argument(
        "--only", action="append", default=[], metavar="KEY=VALUE", help="agent=, env= or seed="
    )
    made.add_argument(
        "--import", action="append", default=[], metavar="MODULE", dest="modules",
        help="a module that registers environments; commands name it themselves",
    )  # fmt: skip
    made.add_argument("--entries", type=Path, default=ENTRIES, help="the folder of leaderboard entries")
    made.add_argument("--no-entries", action="store_true", help="write none, and run what is on record again")
    made.add_argument("--dry-run", action="store_true", help="print the commands only")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        for module in options.modules:
            import_module(module)
        runs = choose(expand(load_suite(options.suite, SUITES)), options.only)
    except (ValueError, ImportError) as error:
        command.error(str(error))
    try:
        engine = Engine() if options.dry_run else engine_of(options.engine, options.address)
    except (ValueError, ImportError, ConnectionError) as error:
        command.error(str(error))
    jobs, threads = engine.shares(options.jobs, options.threads)
    benchmark = Benchmark(
        out=(options.out or Path("runs") / Path(options.suite).stem).resolve(),
        entries=None if options.no_entries or options.suite in RESULTS_ONLY else options.entries,
        threads=threads,
        processes=engine.processes,
    )
    if options.dry_run:
        return print_commands(runs, benchmark)
    return run_session(runs, benchmark, jobs=jobs)


if __name__ == "__main__":
    sys.exit(main())
