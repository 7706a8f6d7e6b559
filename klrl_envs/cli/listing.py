"""`klrl list`: every environment, at any width of the window."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from klrl_envs.registry import all_rows
from klrl_envs.showing import rounded, shown
from klrl_envs.tasks.row import Row

ONE_LINE = 88
"""Columns from which a summary stands behind its id, and not below it."""
WITH_TAGS = 128
"""Columns from which the tags are shown."""
INDENT = 2


def print_list(tags: Sequence[str], console: Console, *, as_json: bool) -> None:
    """Print the environments that have all of some tags.

    Raises:
        ValueError: a tag that no environment has.
    """
    rows = chosen(tags)
    if as_json:
        console.print(json.dumps([plain(row) for row in rows], indent=2), markup=False, soft_wrap=True)
        return
    for block in blocks(rows, console.width):
        console.print(block)
    console.print(
        Text(
            f"{len(rows)} environments. kl_coef in units of reward per nat, budget in tokens of training; "
            "klrl show NAME tells of one.",
            style="dim",
        )
    )


def chosen(tags: Sequence[str]) -> list[Row]:
    """The rows that have all of some tags; see ``print_list``."""
    known = sorted({tag for row in all_rows() for tag in row.tags})
    unknown = [tag for tag in tags if tag not in known]
    if unknown:
        raise ValueError(f"--tag must be one of {', '.join(known)}, got {unknown[0]!r}")
    return [row for row in all_rows() if set(tags) <= set(row.tags)]


def plain(row: Row) -> dict[str, object]:
    """A row as JSON has it."""
    return {
        "id": row.gym_id,
        "features_id": row.gym_features_id,
        "kl_coef": row.kl_coef,
        "token_budget": row.token_budget,
        "tags": list(row.tags),
        "summary": row.summary,
    }


def blocks(rows: Sequence[Row], width: int) -> Iterator[RenderableType]:
    """The list as it fits a width: a line each where there is room, else the summaries on lines below."""
    if width >= ONE_LINE:
        tagged = width >= WITH_TAGS
        result = columns("what is asked", *(["tags"] if tagged else []))
        for row in rows:
            result.add_row(*numbers(row), row.summary, *([", ".join(row.tags)] if tagged else []))
        yield result
        return
    longest = max(len(row.gym_id) for row in rows)
    for row in rows:
        result = columns()
        result.columns[0].min_width = longest
        result.show_header = row is rows[0]
        result.add_row(*numbers(row))
        yield result
        yield Padding(Text(row.summary, style="dim"), (0, 0, 0, INDENT))


def columns(*further: str) -> Table:
    """A table of ids and their numbers, and of what else is asked for."""
    result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    result.add_column("id", no_wrap=True)
    result.add_column("kl_coef", justify="right", no_wrap=True, min_width=len("kl_coef"))
    result.add_column("budget", justify="right", no_wrap=True, min_width=len("budget"))
    for name in further:
        result.add_column(name)
    return result


def numbers(row: Row) -> tuple[Text, str, str]:
    """The id of a row, its kl_coef and its budget."""
    return Text(row.gym_id, style="cyan"), shown(row.kl_coef), rounded(row.token_budget)
