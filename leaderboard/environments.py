"""The README's list of environments, from the registry."""

from __future__ import annotations

from collections.abc import Sequence

from klrl_envs.registry import REGISTRY, Row

BEGIN, END = "<!-- environments:begin -->", "<!-- environments:end -->"


def environment_list() -> str:
    """Two Markdown tables, a row an environment: the tasks, and, folded, the diagnostics."""
    tasks = [row for row in REGISTRY if "diagnostic" not in row.tags]
    diagnostics = [row for row in REGISTRY if "diagnostic" in row.tags]
    title = f"{len(diagnostics)} diagnostics: one property each, with its exact optimum"
    folded = f"<details><summary>{title}</summary>\n\n{environment_table(diagnostics)}\n\n</details>"
    return f"{environment_table(tasks)}\n\n{folded}" if diagnostics else environment_table(tasks)


def environment_table(rows: Sequence[Row]) -> str:
    """A Markdown table, a row an environment."""
    lines = [
        "| id | what it asks | optimum | kl_coef | token budget |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        optimum = "exact" if "exact" in row.tags else "certified by sampling"
        lines.append(
            f"| `{row.gym_id}` | {row.summary} | {optimum} | {row.kl_coef:g} | {row.token_budget:,} |"
        )
    return "\n".join(lines)


def with_environments(text: str) -> str:
    """The README with its list brought up to date; unchanged where it has no markers.

    Raises:
        ValueError: only one of the markers is there, or they are in the wrong order.
    """
    if BEGIN not in text and END not in text:
        return text
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md needs both {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{environment_list()}\n{END}{after}"
