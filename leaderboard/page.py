"""index.html: the leaderboard as a page that needs no other file but the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from klrl_envs.results.entry import Entry
from leaderboard.aggregate import Aggregate
from leaderboard.challenge import ABOUT as CHALLENGES
from leaderboard.challenge import Challenge, challenge_table, doubted
from leaderboard.folder import FOLDER, environments_of, figure_path, profiles_path
from leaderboard.headline import APART, PAIRS, RANKS, apart, headline, left_out, winners
from leaderboard.history import ABOUT as HISTORY
from leaderboard.history import History, history_table
from leaderboard.tables import NO_ENTRIES, RUNS, SCORES, Column, Doubted, link, mark


def page_text(
    entries: Sequence[Entry],
    aggregated: Aggregate,
    folder: Path,
    history: History,
    challenges: Sequence[Challenge],
) -> str:
    """The text of the page."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("leaderboard.build needs jinja2: pip install 'klrl-envs[plots]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.jinja").render(
        no_entries=NO_ENTRIES,
        ranks=RANKS,
        left_out=left_out(aggregated),
        headline=headline(aggregated),
        apart=apart(aggregated),
        apart_note=APART,
        profiles=_relative(profiles_path(folder), folder) if aggregated.ranked else None,
        pairs_note=PAIRS,
        pairs=winners(aggregated) if aggregated.pairs else None,
        pairs_on=[(env_id, winners(aggregated, env_id)) for env_id in aggregated.environments],
        sections=[
            _section(
                env_id,
                [entry for entry in entries if entry.env_id == env_id],
                folder,
                doubted(entries, challenges),
            )
            for env_id in environments_of(entries)
        ],
        history_note=HISTORY,
        history=history_table(history, entries) if history.records else None,
        challenges_note=CHALLENGES,
        challenges=challenge_table(challenges) if challenges else None,
    )


def _section(env_id: str, entries: Sequence[Entry], folder: Path, doubts: Doubted) -> dict[str, Any]:
    """An environment: its figure, and its tables of scores and of runs."""
    return {
        "env_id": env_id,
        "figure": _relative(figure_path(env_id, folder), folder),
        "scores": _linked(entries, SCORES, doubts),
        "runs": _linked(entries, RUNS, doubts),
    }


def _linked(entries: Sequence[Entry], columns: Sequence[Column], doubts: Doubted) -> dict[str, Any]:
    """A table of entries whose first column, the agent, is a link."""
    rows = [
        {
            "name": entry.agent.name,
            "mark": mark(entry, doubts),
            "url": link(entry, "../"),
            "cells": [cell(entry) for _, cell in columns[1:]],
        }
        for entry in entries
    ]
    return {"headings": [heading for heading, _ in columns], "rows": rows}


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
