"""The README's list of environments, from the registry."""

from __future__ import annotations

from collections.abc import Sequence

from klrl_envs.registry import REGISTRY
from klrl_envs.tasks.row import Row
from leaderboard.tables import markdown


def environment_list() -> str:
    """Two Markdown tables, a row an environment: the tasks, and, folded, the diagnostics."""
    tasks = [row for row in REGISTRY if "diagnostic" not in row.tags]
    diagnostics = [row for row in REGISTRY if "diagnostic" in row.tags]
    title = f"{len(diagnostics)} diagnostics: one property each, with its exact optimum"
    folded = f"<details><summary>{title}</summary>\n\n{environment_table(diagnostics)}\n\n</details>"
    return f"{environment_table(tasks)}\n\n{folded}" if diagnostics else environment_table(tasks)


def environment_table(rows: Sequence[Row]) -> str:
    """A Markdown table, a row an environment."""
    cells = [
        (
            f"`{row.gym_id}`",
            row.summary,
            "exact" if "exact" in row.tags else "certified by sampling",
            f"{row.kl_coef:g}",
            f"{row.token_budget:,}",
        )
        for row in rows
    ]
    return markdown(("id", "what it asks", "optimum", "kl_coef", "token budget"), cells)
