"""Published claims on tasks whose optimum is exact: a page and a figure for each.

    python -m benchmarks.claims best_of_n [--out FOLDER]
    python -m benchmarks.claims all

Nothing is sampled here; best_of_n reads certificates and the leaderboard's entries, too. Each page says
what was claimed, what was measured, and what it does not show.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims.page import FOLDER, index
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib

CLAIMS = ("best_of_n", "overoptimisation", "kl_estimators", "rl_razor", "partial_sequences")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("claim", choices=(*CLAIMS, "all"))
    parser.add_argument("--out", type=Path, default=FOLDER, help="each claim has a folder in it")
    options = parser.parse_args(arguments)
    if not has_matplotlib():
        parser.error(NO_MATPLOTLIB)
    for name in CLAIMS if options.claim == "all" else (options.claim,):
        claim = importlib.import_module(f"benchmarks.claims.{name}")
        measured = claim.measure()
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        page = claim.page(measured)
        (folder / "README.md").write_text(page.text(), encoding="utf-8")
        claim.draw(measured, folder)
        print(f"{folder}: {page.found[0]}")
    (options.out / "README.md").write_text(index(options.out), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
