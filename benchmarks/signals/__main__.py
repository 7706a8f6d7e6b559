"""Where the losses of today's trainers lead: one table, one figure, one JSON a row.

    python -m benchmarks.signals                 # compute what is missing (half an hour), then all
    python -m benchmarks.signals --only luspo    # only rows whose name has this in it
    python -m benchmarks.signals --draw          # page and figure of the rows that are there

TRL's rows need `pip install 'klrl-envs[trl]'`, the figure `klrl-envs[plots]`. To compute a row again remove
its file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.signals import formula_rows, trl_rows
from benchmarks.signals.figure import draw
from benchmarks.signals.page import page
from benchmarks.signals.row import Row
from klrl_envs.results.document import write_atomically
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib

FOLDER = Path(__file__).parent
ROWS: tuple[Row, ...] = (*trl_rows.ROWS, *formula_rows.ROWS)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 where a row could not be computed or nothing is drawn."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.signals",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", action="append", default=[], help="part of a row's name; may be repeated")
    parser.add_argument("--draw", action="store_true", help="compute nothing")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of rows, page and figure")
    options = parser.parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows, failed = options.out / "rows", 0
    for row in ROWS:
        chosen = not options.only or any(part in row.name for part in options.only)
        if options.draw or row.path(rows).is_file() or not chosen:
            continue
        if row.missing():
            print(f"{row.name}: {', '.join(row.missing())} is not installed", file=sys.stderr)
            failed = 1
            continue
        numbers = row.run(rows)
        print(f"{row.name}: {numbers['report']['verdict']} ({numbers['core_seconds']:.0f} s)", flush=True)
    read = [(row, row.read(rows)) for row in ROWS]
    found = [(row, numbers) for row, numbers in read if numbers is not None]
    if not found:
        print(f"no rows in {rows}", file=sys.stderr)
        return 1
    missing = [row for row, numbers in read if numbers is None]
    write_atomically(options.out / "README.md", page(found, missing))
    if not has_matplotlib():
        print(NO_MATPLOTLIB, file=sys.stderr)
        return 1
    draw(found, options.out)
    return failed


if __name__ == "__main__":
    sys.exit(main())
