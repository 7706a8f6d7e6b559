"""An agent: its file, its row of the suite, the changelog."""

from __future__ import annotations

from pathlib import Path

from tests.additions import insert, note

ALGORITHM = '''"""The uniform policy: every token alike, whatever it costs."""

from __future__ import annotations

from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import Evaluation


def train(args: Arguments) -> Evaluation:
    """Evaluate the uniform policy."""
    return Training(args, "uniform", budget=0).finish("uniform")


if __name__ == "__main__":
    print(report(train(parse(Arguments, __doc__))))
'''

COMMANDS = [
    ["agents.uniform", "--help"],
    ["benchmarks.run", "--suite", "core", "--only", "agent=uniform", "--dry-run"],
]
TESTS = [
    "-k", "uniform or public or import_each_other",
    "tests/agents/test_every_agent.py", "tests/agents/test_house.py",
]  # fmt: skip


def add(copy: Path) -> None:
    """Three files."""
    (copy / "agents/uniform.py").write_text(ALGORITHM, encoding="utf-8")
    row = '        Experiment("uniform", "python -m agents.uniform"),\n'
    insert(
        copy / "benchmarks/suites.py",
        '        Experiment("posterior", "python -m agents.posterior", "exact"',
        row,
    )
    note(copy, "The agent `uniform`.")
