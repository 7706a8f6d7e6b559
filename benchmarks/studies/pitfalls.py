"""Well-known mistakes in KL-regularised RL, measured against the exact optimum: one figure and one table.

    python -m benchmarks.studies.pitfalls [--out benchmarks/studies/pitfalls]

Every row says what a training signal really optimises, where that ends, and what it scores there. Nothing is
sampled: fixed points are computed on the exact tasks DiagnosticCoefficient-v0 (one price of KL, no prompts)
and DiagnosticPromptScale-v0 (prompts with unequal stakes), but for k3 in the reward, which is followed in
exact steps. A score below 1 is the signal's own fault, which no optimiser can mend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.mistakes import VALUE_RATIO, Mistake, all_rows
from benchmarks.studies.pitfalls_figure import draw
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib
from klrl_envs.tasks.row import short_id

FOLDER = Path(__file__).parent / "pitfalls"


COLUMNS = (
    "#", "what is done", "where, and its level", "what it optimises", "its end", "E[r]", "KL (nats)", "score",
    "task", "sources",
)  # fmt: skip
HEAD = f"""# Pitfalls, against the exact optimum

Made by `python -m benchmarks.studies.pitfalls`. Score: 0 the reference, 1 the optimum. Nothing is sampled, no
number is typed in: every row is a training signal's own end, on an exact task, which no optimiser can mend.

![Where well-known mistakes end](pitfalls.png)

l = log pi - log pi0 of the text (of the token at token level), beta = kl_coef; k1 = l, k2 = l^2 / 2,
k3 = e^-l - 1 + l. *In the reward* an estimator is a number without gradient, *in the loss* it has its own;
importance-weighted k3 is (pi / pi_old) k3 with the gradient through the weight, too.
V* is c log E_0 exp(r / c) at a coefficient c that is not beta, in the regression (beta l + V* - r)^2;
c = {VALUE_RATIO:g} beta is the ratio of the published defaults.

| {" | ".join(COLUMNS)} |
| ---: | --- | --- | --- | --- | ---: | ---: | ---: | --- | --- |
"""

FOOT = """
## Precedents

- Korbak, Perez and Buckley 2022 ([2205.11275](https://arxiv.org/abs/2205.11275)): KL-regularised RL as
  Bayesian inference, and the collapse of the reward alone.
- I. Antoniadis 2026, [rl-for-llms](https://github.com/ioannisantoniadis/rl-for-llms): a language of 625
  texts, enumerated, with the exact optimum and where several losses end on it. Here the fixed points come
  from dynamic programmes, so that texts need not be enumerated; the tests do so on tiny tasks.
- Tang and Munos 2025 ([2506.09477](https://arxiv.org/abs/2506.09477)): gradients of the KL's estimators.
"""


def table(rows: Sequence[Mistake]) -> str:
    """The page as Markdown."""
    lines: list[str] = []
    for number, row in enumerate(rows, 1):
        signal = row.signal
        reached = (
            ("", "") if row.point is None else (f"{row.point.expected_reward:.3f}", f"{row.point.kl:.2f}")
        )
        score = f"claims {row.score:.3f}" if row.point is None else f"{row.score:.3f}"
        sources = ", ".join(f"[{one}](https://arxiv.org/abs/{one})" for one in signal.sources)
        told = (signal.name, signal.where, signal.optimises, signal.ends)
        cells = (str(number), *told, *reached, score, short_id(row.env_id), sources)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return HEAD + "".join(lines) + FOOT


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.pitfalls",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md, pitfalls.png and .svg")
    options = parser.parse_args(arguments)
    if not has_matplotlib():
        parser.error(NO_MATPLOTLIB)
    rows = all_rows()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(table(rows), encoding="utf-8")
    draw(rows, options.out)
    for row in rows:
        print(f"{row.score:8.3f}  {row.label}")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
