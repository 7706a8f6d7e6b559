"""Compare eight settings of an agent on three environments, and write the page of all that were compared.

    python -m benchmarks.tuning --agent ppo [--jobs 2]   # 24 runs, those that are done left out
    python -m benchmarks.tuning                          # every agent
    python -m benchmarks.tuning --draw                   # the page alone

Every agent gets the same search: one seed, other than those that are scored, and 200,000 tokens a run. The
best by the mean score over the three environments is what an agent should ship with, for all tasks of the
kind; none is chosen by environment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tuning.page import FOLDER, Tried, load_tried, page, save_tried
from benchmarks.tuning.searches import SEARCHES, Search
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.document import write_atomically
from klrl_envs.results.outcome import finished
from klrl_envs.results.plan import expand
from klrl_envs.results.session import run_session


def run_search(search: Search, out: Path, jobs: int) -> tuple[int, list[Tried]]:
    """Run what is missing of a search; the exit code, and what came out."""
    benchmark = Benchmark(out=out.resolve(), entries=None, threads=1)
    runs = expand(search.suite())
    code = run_session(runs, benchmark, jobs=jobs)
    records = finished(runs, benchmark)
    tried = [
        Tried(
            flags=search.settings[int(record.agent.name.rpartition("-")[2])],
            env_id=record.env_id,
            score=record.score,
            kl=record.kl,
            tokens=record.tokens,
            seconds=record.seconds,
        )
        for record in records
    ]
    return code, tried


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--agent", choices=sorted(SEARCHES), help="one agent; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"), help="where runs write")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, of one thread each")
    parser.add_argument("--draw", action="store_true", help="the page of what is on record, and no run")
    options = parser.parse_args(arguments)
    worst = 0
    for name, search in SEARCHES.items():
        if options.draw or (options.agent and name != options.agent):
            continue
        code, tried = run_search(search, options.out, options.jobs)
        worst = max(worst, code)
        if not code:
            save_tried(name, tried)
    write_atomically(FOLDER / "README.md", page({name: load_tried(name) for name in SEARCHES}))
    return worst


if __name__ == "__main__":
    sys.exit(main())
