"""Well-known mistakes in KL-regularised RL, measured against the exact optimum: one figure and one table.

    python -m benchmarks.studies.pitfalls [--out benchmarks/studies/pitfalls]

Every row says what a training signal really optimises, where that ends, and what it scores there. Nothing is
sampled: fixed points are computed on the exact tasks DiagnosticCoefficient-v0 (one price of KL, no prompts)
and DiagnosticPromptScale-v0 (prompts with unequal stakes), but for one signal that is followed step by step
(k3 in the reward). A score below 1 is the signal's own fault, which no optimiser can mend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.mistakes import Mistake, on_one_price, on_prompts
from benchmarks.studies.pitfalls_figure import draw
from klrl_envs.tasks.row import short_id

FOLDER = Path(__file__).parent / "pitfalls"


def table(rows: Sequence[Mistake]) -> str:
    """The table as Markdown."""
    lines = [
        "# Pitfalls, against the exact optimum",
        "",
        "Made by `python -m benchmarks.studies.pitfalls`. Score: 0 the reference, 1 the optimum.",
        "",
        "![Where well-known mistakes end](pitfalls.png)",
        "",
        "| what is done | what it optimises | its end | E[r] | KL (nats) | score | task |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        reached = (
            ("", "") if row.point is None else (f"{row.point.expected_reward:.3f}", f"{row.point.kl:.2f}")
        )
        score = f"claims {row.score:.3f}" if row.point is None else f"{row.score:.3f}"
        cells = (row.name, row.optimises, row.ends, *reached, score, short_id(row.env_id))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.pitfalls",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md, pitfalls.png and .svg")
    options = parser.parse_args(arguments)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("benchmarks.studies.pitfalls needs matplotlib: pip install 'klrl-envs[plots]'", file=sys.stderr)
        return 1
    rows = [*on_one_price(), *on_prompts()]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(table(rows), encoding="utf-8")
    draw(rows, options.out)
    for row in rows:
        print(f"{row.score:8.3f}  {row.name}")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
