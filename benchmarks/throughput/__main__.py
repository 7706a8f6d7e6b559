"""How fast the environments are, as ratios against other people's code in the same run.

    python -m benchmarks.throughput            # all comparisons, some minutes
    python -m benchmarks.throughput grid       # GridNavigation-v0 against Gymnasium's FrozenLake
    python -m benchmarks.throughput sentiment  # Sentiment-v0 against transformers' generate
    python -m benchmarks.throughput solver     # the optimum of NaiveBayesSentiment-v0 against its products

GridNavigation-v0 runs at 1,024 lanes; every other side is measured at several numbers of lanes and takes
its best. Sides alternate, and each figure is the best of its rounds, so that what else the machine does
hurts both alike.
"""

from __future__ import annotations

import argparse
from importlib import import_module

COMPARISONS = ("solver", "grid", "sentiment")  # each a module with run(rounds)


def main(argv: list[str] | None = None) -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", choices=[*COMPARISONS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="each figure is the best of so many rounds")
    arguments = parser.parse_args(argv)
    for name in COMPARISONS:
        if name in (arguments.what or COMPARISONS):
            import_module(f"benchmarks.throughput.{name}").run(arguments.rounds)


if __name__ == "__main__":
    main()
