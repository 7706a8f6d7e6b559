"""The report's capabilities as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from klrl_envs.results.capabilities import CAPABILITIES
from klrl_envs.results.capability import MANY, Finding, Findings, by_rank
from klrl_envs.results.points import SweepPoint, outside
from klrl_envs.results.record import RunRecord
from klrl_envs.results.sentences import LEVEL


def capabilities_part(findings: Findings, runs: Sequence[RunRecord], *, figure: bool = True) -> list[str]:
    """The lines on what the agents can and cannot do, one property at a time.

    Args:
        findings: of each agent.
        runs: on diagnostics, those among them whose settings are in no sweep.
        figure: whether there is one.
    """
    lines = [
        *(["![The capabilities of each agent](report.png)", ""] if figure else []),
        "A score is 0 for the reference and 1 for the optimum pi\\*, which each environment knows exactly.",
        "Each capability is a number in [0, 1], the mean over the settings of its sweep; how a setting",
        "becomes a number is said below. What was not run has no number: it is no zero. Scores that differ",
        f"by no more than {LEVEL:g} are not said to rise or fall.",
        *(["Agents with most numbers stand first, then by their means."] if len(findings) > MANY else []),
        "",
        *numbers_table(findings),
    ]
    for name, found in findings.items():
        lines += [
            "",
            f"## What {name} can do",
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
    return lines


def numbers_table(findings: Findings) -> list[str]:
    """``numbers_rows`` as Markdown."""
    head, *rows = numbers_rows(findings)
    return [markdown_row(row) for row in (head, ["---", *("---:" for _ in head[1:])], *rows)]


def numbers_rows(findings: Findings) -> list[list[str]]:
    """The numbers under their headings: a column for each agent; where there are many, a line for each."""
    names = by_rank(findings) if len(findings) > MANY else list(findings)
    lines = [[name, *map(shown_number, findings[name])] for name in names]
    titles = [capability.title for capability in CAPABILITIES]
    if len(findings) > MANY:
        return [["agent", *titles], *lines]
    return [list(row) for row in zip(["capability", *titles], *lines, strict=True)]


def point_row(name: str, finding: Finding, point: SweepPoint) -> str:
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


def shown_number(finding: Finding) -> str:
    """A capability's number, with how much of its sweep it holds where that is not all."""
    if finding.number is None:
        return "–"
    count, whole = len(finding.points), len(finding.points) + len(finding.missing)
    return f"{finding.number:.2f}" + (f" ({count} of {whole})" if finding.missing else "")
