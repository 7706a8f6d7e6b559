"""index.html: the board as a page that needs no other file."""

from __future__ import annotations

from typing import Any

from klrl_envs.registry import REGISTRY
from klrl_envs.results.entry import file_id
from klrl_envs.results.outcome import shown_score
from klrl_envs.tasks.row import short_id
from leaderboard.board import Board, environment_page
from leaderboard.challenge import ABOUT as CHALLENGES
from leaderboard.challenge import challenge_table
from leaderboard.charts import plane_of, profiles_of
from leaderboard.environment_page import AGENTS_TEXTS, writers_on
from leaderboard.facets import FACETS, choices
from leaderboard.folder import environments_of
from leaderboard.headline import APART, PAIRS, RANKS, apart, headline, left_out, shown_chance, winners
from leaderboard.history import ABOUT as HISTORY
from leaderboard.history import history_table
from leaderboard.profiles import profiled
from leaderboard.render import render, style_of
from leaderboard.tables import NO_ENTRIES, RUNS, SCORES, Table


def page_text(board: Board) -> str:
    """The text of the page."""
    aggregated = board.aggregate
    shown = profiled(board.entries, aggregated)
    return render(
        "index.html.jinja",
        pages=board.pages,
        no_entries=NO_ENTRIES,
        facets={name: (FACETS[name], values) for name, values in choices(board.facets).items()},
        ranks=RANKS,
        left_out=left_out(aggregated),
        headline=by_agent(board, headline(aggregated), 1),
        apart=by_agent(board, apart(aggregated), 0),
        apart_note=APART,
        profiles=profiles_of(shown, board.style),
        profiled=f"{len(shown.aggregate.environments)} {shown.group}",
        pairs_note=PAIRS,
        pairs=winners(aggregated) if aggregated.pairs else None,
        pairs_on=[(short_id(each), winners(aggregated, each)) for each in aggregated.environments],
        compared=compared(board),
        environments=[(row.task_id, environment_page(row.gym_id), row.summary) for row in REGISTRY],
        sections=[section(board, env_id) for env_id in environments_of(board.entries)],
        history_note=HISTORY,
        history=history_table(board.history, board.entries) if board.history.records else None,
        challenges_note=CHALLENGES,
        challenges=challenge_table(board.challenges) if board.challenges else None,
    )


def by_agent(board: Board, table: Table, place: int) -> dict[str, Any]:
    """A table of agents over all environments; `place` is the column with their names."""
    headings, rows = table
    return {
        "headings": headings,
        "rows": [
            {
                "cells": row,
                "agent": place,
                "facets": board.facets.get(row[place], {}),
                "style": style_of(board.style[row[place]]) if row[place] in board.style else None,
            }
            for row in rows
        ],
    }


def section(board: Board, env_id: str) -> dict[str, Any]:
    """An environment: its plane, and its tables of scores and of runs."""
    entries, card = board.on(env_id), board.card(env_id)
    return {
        "name": short_id(env_id),
        "anchor": file_id(env_id),
        "url": environment_page(env_id) if board.pages else None,
        "kl_coef": f"{entries[0].kl_coef:g}",
        "plane": None if card is None else plane_of(card, entries, board.style, board.facets_on(env_id)),
        "scores": board.table(entries, SCORES, ""),
        "runs": board.table(entries, RUNS, ""),
    }


def compared(board: Board) -> dict[str, Any]:
    """What the script compares any two agents by: words as the tables have them.

    `agents`: name, and what its row says. `scores`: agent, environment, score. `chances`: two agents, and the
    chance that the first wins: in the mean, and on each environment. `texts`: environment, where what agents
    write there stands side by side, and whose texts do.
    """
    rows = board.aggregate.rows
    chances = [
        [
            pair.first,
            pair.second,
            shown_chance(pair.chance, pair.interval),
            [[short_id(on.env_id), shown_chance(on.chance, on.interval)] for on in pair.environments],
        ]
        for one in board.aggregate.pairs
        for pair in (one, one.reversed())
    ]
    told = {name: [", ".join(values) for values in facets.values()] for name, facets in board.facets.items()}
    return {
        "facts": list(FACETS.values()),
        "agents": [[row.agent, told.get(row.agent, [])] for row in rows],
        "scores": [
            [entry.agent.name, short_id(entry.env_id), shown_score(entry.score, entry.score_interval)]
            for entry in board.entries
        ],
        "chances": chances,
        "texts": {
            short_id(env_id): [f"{environment_page(env_id)}#{AGENTS_TEXTS}", writers_on(board, env_id)]
            for env_id in board.aggregate.environments
            if board.pages
        },
    }
