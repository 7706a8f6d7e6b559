"""Environments as a user names them on the command line: short, in any case, completed by the shell."""

from __future__ import annotations

from typing import Annotated

import typer

from klrl_envs.registry import all_rows, find_row, plain_id
from klrl_envs.tasks.row import short_id

VERSION_MARK = "-v"


def resolved(name: str) -> str:
    """The id that a name means: "Keywords", "keywords-v0" and "klrl/Keywords-v0" are one.

    Without a version it is the newest that there is.

    Raises:
        ValueError: no such environment; the message names those that are spelled nearly so.
    """
    module = name.rpartition(":")[0]
    wanted = plain_id(name).lower()
    known = [each for row in all_rows() for each in (row.gym_id, row.gym_features_id)]
    # the newest version of a family stands last, and wins
    spelled = {each.rpartition(VERSION_MARK)[0].lower(): each for each in sorted(known, key=version_of)}
    spelled |= {each.lower(): each for each in known}
    if wanted not in spelled:
        find_row(name)  # says what there is, and what was meant
    return f"{module}:{spelled[wanted]}" if module else spelled[wanted]


def version_of(env_id: str) -> int:
    """The number behind "-v", -1 where there is none."""
    version = env_id.rpartition(VERSION_MARK)[2]
    return int(version) if version.isdecimal() else -1


def completions(incomplete: str) -> list[tuple[str, str]]:
    """What the shell offers for the beginning of an id, and what is asked there.

    Shells leave out what does not begin as it was typed: to small letters it is offered in small letters.
    """
    rows = [(row.gym_id, row.summary) for row in all_rows()]
    if "/" not in incomplete:
        rows = [(short_id(each), summary) for each, summary in rows]
    if incomplete and incomplete == incomplete.lower():
        rows = [(each.lower(), summary) for each, summary in rows]
    return [(each, summary) for each, summary in rows if each.startswith(incomplete)]


def resolved_option(name: str | None) -> str | None:
    """The same of an option that may be left out."""
    return None if name is None else resolved(name)


IdArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        callback=resolved,
        autocompletion=completions,
        help="An environment: Keywords, keywords-v0 and klrl/Keywords-v0 are one.",
    ),
]
