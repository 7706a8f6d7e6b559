"""The README's list of environments, from the registry."""

from __future__ import annotations

from klrl_envs.registry import REGISTRY

BEGIN, END = "<!-- environments:begin -->", "<!-- environments:end -->"


def environment_table() -> str:
    """A Markdown table, a row an environment."""
    lines = [
        "| id | what it asks | optimum | kl_coef | token budget |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in REGISTRY:
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
    return f"{before}{BEGIN}\n{environment_table()}\n{END}{after}"
