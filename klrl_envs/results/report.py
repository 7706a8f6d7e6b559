"""`klrl report`: a folder of results as a figure, a page and a table of what each agent can and cannot do."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from klrl_envs.results.capabilities import CAPABILITIES
from klrl_envs.results.capability import Findings
from klrl_envs.results.findings import findings_of
from klrl_envs.results.points import read_records
from klrl_envs.results.report_figure import draw
from klrl_envs.results.report_page import page, shown_number


def make_report(results: Path, agents: Sequence[str], out: Path | None, console: Console) -> None:
    """Read results, write `report.md`, `report.png` and `report.svg`, and print the table.

    Args:
        results: a folder with `result.json` files at any depth.
        agents: the names to show; all where there are none.
        out: the folder to write to; by default `report` in the first.
        console: where the table goes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: nothing to report, a damaged file, or an agent that has no results.
    """
    if find_spec("matplotlib") is None:
        raise ImportError("klrl report draws with matplotlib: pip install 'klrl-envs[plots]'")
    runs = read_records(results)
    names = sorted({run.agent.name for run in runs})
    unknown = [name for name in agents if name not in names]
    if unknown:
        raise ValueError(f"--agent must be one of {', '.join(names)}, got {unknown[0]!r}")
    runs = [run for run in runs if not agents or run.agent.name in agents]
    findings = findings_of(runs)
    folder = results / "report" if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    draw(findings, folder)
    (folder / "report.md").write_text(page(findings, runs), encoding="utf-8")
    console.print(console_table(findings))
    for name in ("report.md", "report.png", "report.svg"):
        console.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)


def console_table(findings: Findings) -> Table:
    """The numbers of every agent, and of a single one the sentences."""
    table = Table(title="from 0 to 1, which is what the optimum does; –: not known")
    table.add_column("capability", no_wrap=True)
    for name in findings:
        table.add_column(name, justify="right")
    alone = len(findings) == 1
    if alone:
        table.add_column("what came out")
    for index, capability in enumerate(CAPABILITIES):
        row = [each[index] for each in findings.values()]
        table.add_row(capability.title, *map(shown_number, row), *([row[0].sentence] if alone else []))
    return table
