"""`klrl report`: a folder of results as figures, a page and tables of what each agent can and cannot do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from klrl_envs.registry import sweeps
from klrl_envs.results.capability import MANY, Findings
from klrl_envs.results.document import write_atomically
from klrl_envs.results.findings import findings_of
from klrl_envs.results.outcome import Outcome, plain_scores, summary_table
from klrl_envs.results.points import read_records
from klrl_envs.results.record import RunRecord
from klrl_envs.results.report_figure import draw
from klrl_envs.results.report_matrix import draw_matrix
from klrl_envs.results.report_page import capabilities_part, numbers_rows
from klrl_envs.results.report_scores import draw_scores, scores_of, scores_part
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib


def make_report(
    results: Path, agents: Sequence[str], out: Path | None, console: Console, *, as_json: bool = False
) -> None:
    """Read results, write `report.md` and, with matplotlib, figures, and print tables.

    Args:
        results: a folder with `result.json` files at any depth.
        agents: the names to show; all where there are none.
        out: the folder to write to; by default `report` in the first.
        console: where the tables go.
        as_json: print numbers and files as JSON in place of tables.

    Raises:
        ValueError: nothing to report, a damaged file, or an agent that has no results.
    """
    runs = read_records(results)
    names = sorted({run.agent.name for run in runs})
    unknown = [name for name in agents if name not in names]
    if unknown:
        raise ValueError(f"--agent must be one of {', '.join(names)}, got {unknown[0]!r}")
    runs = [run for run in runs if not agents or run.agent.name in agents]
    tested = [run for run in runs if run.env_id in sweeps()]
    findings, scores = findings_of(tested), scores_of(runs)
    folder = results / "report" if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    drawn = has_matplotlib()
    written = ["report.md"]
    if drawn and findings:
        (draw_matrix if len(findings) > MANY else draw)(findings, folder)
        written += ["report.png", "report.svg"]
    if drawn and any(outcome.score is not None for outcome in scores):
        draw_scores(scores, folder)
        written += ["scores.png", "scores.svg"]
    write_atomically(folder / "report.md", page(findings, tested, scores, written))
    if as_json:
        text = json.dumps(plain_report(findings, scores, [folder / name for name in written]), indent=2)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    if findings:
        console.print(console_table(findings))
    if scores:
        console.print(summary_table(scores))
    for name in written:
        console.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)
    if not drawn:
        console.print(NO_MATPLOTLIB, markup=False, highlight=False, soft_wrap=True)


def page(
    findings: Findings,
    tested: Sequence[RunRecord],
    scores: Sequence[Outcome] = (),
    figures: Sequence[str] = ("report.png", "scores.png"),
) -> str:
    """The report as Markdown.

    Args:
        findings: of each agent; empty where none was run on a diagnostic.
        tested: the runs on diagnostics.
        scores: the outcomes that have a line in the table of scores.
        figures: the files beside it.
    """
    names = findings or dict.fromkeys(sorted({outcome.agent for outcome in scores}))
    who = f"{len(names)} agents" if len(names) > MANY else ", ".join(names)
    lines = [f"# {who}: {'one property at a time' if findings else 'scores'}", ""]
    if findings:
        lines += capabilities_part(findings, tested, figure="report.png" in figures)
    if findings and scores:
        lines += ["", "## Scores", ""]
    if scores:
        lines += scores_part(scores, figure="scores.png" in figures)
    return "\n".join(lines) + "\n"


def plain_report(findings: Findings, scores: Sequence[Outcome], written: Sequence[Path]) -> dict[str, object]:
    """The report as JSON has it: capabilities by agent, scores, and the files that were written."""
    return {
        "capabilities": {
            agent: [
                {"capability": each.capability.title, "env_id": each.capability.env_id}
                | {"number": each.number, "sentence": each.sentence, "missing": list(each.missing)}
                for each in found
            ]
            for agent, found in findings.items()
        },
        "scores": plain_scores(scores),
        "files": [str(path) for path in written],
    }


def console_table(findings: Findings) -> Table:
    """The numbers of every agent, and of a single one the sentences."""
    head, *rows = numbers_rows(findings)
    table = Table(title="from 0 to 1, which is what the optimum does; –: not known")
    table.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        table.add_column(name, justify="right")
    sentences: list[list[str]] = [[] for _ in rows]
    if len(findings) == 1:
        table.add_column("what came out")
        (found,) = findings.values()
        sentences = [[each.sentence] for each in found]
    for row, sentence in zip(rows, sentences, strict=True):
        table.add_row(*row, *sentence)
    return table
