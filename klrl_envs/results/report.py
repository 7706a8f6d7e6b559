"""`klrl report`: a folder of results as a figure, a page and a table of what each agent can and cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from klrl_envs.registry import sweeps
from klrl_envs.results.capabilities import (
    CAPABILITIES,
    LEVEL,
    Finding,
    assess,
    clip,
)
from klrl_envs.results.points import Point, RunResult, outside, read_runs

Findings = Mapping[str, Sequence[Finding]]

INK, SOFT, TRACK, BAND = "#1d2433", "#6b7484", "#e3e7ed", "#f6f7f9"
BAR = "#56B4E9"  # of Okabe and Ito's colours, which the colour-blind tell apart too
DOTS = "Blues"  # light for the first setting, dark for the last: told apart by lightness alone
ACROSS = 4  # strips side by side


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
    runs = read_runs(results)
    names = sorted({run.agent.name for run in runs})
    unknown = [name for name in agents if name not in names]
    if unknown:
        raise ValueError(f"--agent must be one of {', '.join(names)}, got {unknown[0]!r}")
    runs = [run for run in runs if not agents or run.agent.name in agents]
    findings = assess(runs)
    folder = results / "report" if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    draw(findings, folder)
    (folder / "report.md").write_text(page(findings, runs), encoding="utf-8")
    console.print(console_table(findings))
    for name in ("report.md", "report.png", "report.svg"):
        console.print(str(folder / name), markup=False, highlight=False, soft_wrap=True)


def shown_number(finding: Finding) -> str:
    """A capability's number, with how much of its sweep it holds where that is not all."""
    if finding.number is None:
        return "–"
    count, whole = len(finding.points), len(finding.points) + len(finding.missing)
    return f"{finding.number:.2f}" + (f" ({count} of {whole})" if finding.missing else "")


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


def draw(findings: Findings, folder: Path) -> None:
    """`report.png` and `report.svg`: a strip for each agent, a line for each capability."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    look: Any = {"svg.hashsalt": "klrl", "font.size": 10, "ytick.color": INK, "xtick.color": SOFT}
    alone = len(findings) == 1
    across = min(len(findings), ACROSS)
    down = -(-len(findings) // across)
    with mpl.rc_context(look):
        figure, grid = pyplot.subplots(
            down,
            across,
            figsize=(11.5 if alone else 2.6 + 2.7 * across, 1.1 + 5.6 * down),
            squeeze=False,
            layout="constrained",
        )
        for place, axes in enumerate(grid.flat):
            if place >= len(findings):
                axes.set_visible(False)
                continue
            name, found = list(findings.items())[place]
            strip(axes, found, named=place % across == 0)
            axes.set_title("" if alone else name, loc="left", fontsize=11, color=INK, fontweight="bold")
            if alone:
                tell(axes, found)
        title = f"What {next(iter(findings))} can do" if alone else "What the agents can do"
        figure.suptitle(
            f"{title}, one property at a time", x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold"
        )
        figure.supxlabel(
            "bar: the mean over the sweep (hatched: over a part of it); dots: its settings, the first light "
            "and on top (\u25c2 a score below 0)",
            fontsize=9,
            color=SOFT,
        )
        figure.savefig(folder / "report.png", dpi=150, metadata={"Software": None})
        figure.savefig(folder / "report.svg", metadata={"Creator": None, "Date": None})
        pyplot.close(figure)


def strip(axes: Any, findings: Sequence[Finding], *, named: bool) -> None:
    """One agent: for each capability a track from 0 to 1, its number as a bar, and its settings as dots."""
    for line, finding in enumerate(findings):
        if line % 2 == 0:
            axes.axhspan(line - 0.5, line + 0.5, color=BAND, linewidth=0, zorder=0)
        if finding.number is None:
            axes.text(0.5, line, missing_text(finding), ha="center", va="center", fontsize=9, style="italic",
                      color=SOFT)  # fmt: skip
            continue
        axes.barh(line, 1, 0.42, color=TRACK, linewidth=0, zorder=1)
        whole = not finding.missing
        axes.barh(line, finding.number, 0.42, color=BAR, linewidth=0, zorder=2, alpha=1 if whole else 0.55,
                  hatch=None if whole else "////", edgecolor="white")  # fmt: skip
        profile(axes, line, finding)
        axes.text(1.05, line, f"{finding.number:.2f}", va="center", fontsize=10, color=INK, fontweight="bold")
    axes.set_ylim(len(findings) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.22)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.axvline(1, color=SOFT, linewidth=0.8, linestyle=":", zorder=3)
    axes.set_yticks([])
    for line, finding in enumerate(findings if named else ()):
        capability = finding.capability
        label: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.03, line - 0.16 * bool(capability.span), capability.title, color=INK, **label)
        axes.text(-0.03, line + 0.22, capability.span, color=SOFT, fontsize=8, **label)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def profile(axes: Any, line: int, finding: Finding) -> None:
    """The scores of a sweep as dots, joined, from the first setting on top to the last."""
    from matplotlib import colormaps

    sweep = sweeps()[finding.capability.env_id]
    if len(sweep) == 1:
        return
    places = [sweep.index(point.settings) / (len(sweep) - 1) for point in finding.points]
    scores = [point.mean("score") for point in finding.points]
    at = [clip(score) for score in scores]
    heights = [line + 0.5 * (place - 0.5) for place in places]
    axes.plot(at, heights, color=INK, linewidth=0.8, zorder=4)
    for place, score, across, height in zip(places, scores, at, heights):
        axes.plot(
            across,
            height,
            "<" if round(score, 2) < 0 else "o",
            color=colormaps[DOTS](0.2 + 0.8 * place),
            markersize=6,
            markeredgecolor=INK,
            markeredgewidth=0.7,
            clip_on=False,
            zorder=5,
        )


def missing_text(finding: Finding) -> str:
    """Why there is no number, in a word or two."""
    return "no diagnostics" if finding.points else "not run"


def tell(axes: Any, findings: Sequence[Finding]) -> None:
    """The sentences, to the right of a strip that stands alone."""
    from textwrap import fill

    for line, finding in enumerate(findings):
        axes.annotate(
            fill(finding.sentence, 74),
            (1.24, line),
            va="center",
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
        )


def page(findings: Findings, runs: Sequence[RunResult]) -> str:
    """The report as Markdown."""
    lines = [
        f"# {', '.join(findings)}: one property at a time",
        "",
        "![A strip of capabilities for each agent](report.png)",
        "",
        "A score is 0 for the reference and 1 for the optimum pi\\*, which each environment knows exactly.",
        "Each capability is a number in [0, 1], the mean over the settings of its sweep; how a setting",
        "becomes a number is said below. What was not run has no number: it is no zero. Scores that differ",
        f"by no more than {LEVEL:g} are not said to rise or fall.",
        "",
        markdown_row(["capability", *findings]),
        markdown_row(["---", *("---:" for _ in findings)]),
    ]
    for index, capability in enumerate(CAPABILITIES):
        cells = (shown_number(each[index]) for each in findings.values())
        lines.append(markdown_row([capability.title, *cells]))
    for name, found in findings.items():
        lines += [
            "",
            f"## {name}",
            "",
            *(f"- **{each.capability.title}.** {cell(each.sentence)}" for each in found),
        ]
    lines += ["", "## The numbers behind it"]
    for index, capability in enumerate(CAPABILITIES):
        lines += [
            "",
            f"### {capability.title}",
            "",
            f"{capability.asks} `{capability.env_id}`. A setting's number: {cell(capability.formula)}.",
        ]
        if any(each[index].points for each in findings.values()):
            heads = ["agent", "setting", "number", "score", "KL (nats)", "regret", "seeds", "tokens"]
            lines += ["", markdown_row(heads), markdown_row(["---"] * len(heads))]
        for name, found in findings.items():
            lines += [point_row(name, found[index], point) for point in found[index].points]
    passed_over = outside(runs)
    if passed_over:
        lines += ["", "## Passed over", "", "These runs have settings that are in no sweep:", ""]
        lines += [f"- {run.agent.name} on `{run.env_id}` with `{run.env_kwargs}`, seed {run.seed}"
                  for run in passed_over]  # fmt: skip
    return "\n".join(lines) + "\n"


def point_row(name: str, finding: Finding, point: Point) -> str:
    """One setting of one agent: means over the seeds, and the range of the score."""
    capability = finding.capability
    scores = [run.score for run in point.runs if run.score is not None]
    score = "–"
    if len(scores) == len(point.runs):
        score = f"{point.mean('score'):.3f}"
        score += f" ({min(scores):.3f} to {max(scores):.3f})" if len(scores) > 1 else ""
    return markdown_row(
        [
            name,
            capability.label(point.settings) or "as registered",
            "–" if finding.number is None else f"{capability.number(point):.2f}",
            score,
            f"{point.mean('kl'):.3g}",
            f"{point.mean('regret'):.3g}",
            ", ".join(str(run.seed) for run in point.runs),
            f"{max(run.tokens for run in point.runs):,}",
        ]
    )


def cell(text: str) -> str:
    """Text for Markdown, whose marks stay what they are, in a table too."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def markdown_row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
