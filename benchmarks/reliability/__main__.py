"""Put the suite's reliability to the test: a JSON record a check, and the page of all.

    python -m benchmarks.reliability                   # every check, some twenty minutes of one core
    python -m benchmarks.reliability --only memory     # one; may be repeated
    python -m benchmarks.reliability --draw            # the page of the records that are there

The exit code is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability.page import page, read_records
from benchmarks.reliability.record import CHECKS, FOLDER, measured
from klrl_envs.results.document import write_atomically
from klrl_envs.results.processes import THREADS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", action="append", choices=CHECKS, default=[], help="a check; all by default")
    parser.add_argument("--draw", action="store_true", help="the page alone")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the records and the page")
    options = parser.parse_args(arguments)
    for name in THREADS:  # of the processes that checks start
        os.environ[name] = "1"
    failed = False
    for name in () if options.draw else (options.only or CHECKS):
        record = measured(name, importlib.import_module(f"benchmarks.reliability.{name}"))
        record.save(options.out / "records" / f"{name}.json")
        failed |= not record.holds
        for found in record.findings:
            mark = {True: "holds", False: "FAILS", None: "not run"}[found.holds]
            print(f"{name}: {mark}: {found.what}: {found.seen} (limit: {found.limit})", flush=True)
    write_atomically(options.out / "README.md", page(read_records(options.out / "records")))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
