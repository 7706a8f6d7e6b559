"""The page of an environment: its specification, its optimum, and who stands there."""

from __future__ import annotations

from typing import Any

from klrl_envs.results.entry import file_id
from klrl_envs.tasks.row import Row
from leaderboard.board import UP, Board, texts_behind
from leaderboard.cards import Card
from leaderboard.charts import bars_of, plane_of
from leaderboard.render import markdown_html, render
from leaderboard.tables import RUNS, SCORES, Table, number

AGENTS_TEXTS = "agents-texts"
"""The anchor of what agents write."""


def environment_text(board: Board, row: Row) -> str:
    """The page of an environment."""
    entries, card = board.on(row.gym_id), board.card(row.gym_id)
    return render(
        "environment.html.jinja",
        up=UP,
        env_id=row.gym_id,
        name=row.task_id,
        summary=row.summary,
        facts=[
            ("kl_coef", f"{row.kl_coef:g}"),
            ("token budget", f"{row.token_budget:,}"),
            ("features id", row.gym_features_id),
            ("tags", ", ".join(row.tags)),
        ],
        optimum=None if card is None else optimum_table(card),
        card=card,
        plane=None if card is None else plane_of(card, entries, board.style, board.facets_on(row.gym_id)),
        law=None if card is None else bars_of(card.law),
        frontier=None if card is None else frontier_table(card),
        texts=[]
        if card is None
        else [texts_behind(each.prompt, {"pi0": each.reference, "pi*": each.optimal}) for each in card.texts],
        agents_texts=agents_texts(board, row.gym_id),
        agents_anchor=AGENTS_TEXTS,
        scores=board.table(entries, SCORES, UP),
        runs=board.table(entries, RUNS, UP),
        specification=markdown_html(row.specification().partition("\n\n")[2] or row.summary, deeper=1),
        download=f"{file_id(row.gym_id)}.json" if card is not None else None,
    )


def writers_on(board: Board, env_id: str) -> list[str]:
    """The agents whose exhibits have texts behind the card's prompts, the best first."""
    if board.card(env_id) is None:
        return []
    names = [entry.agent.name for entry in board.on(env_id)]
    return [name for name in names if (env_id, name) in board.exhibits and board.exhibits[env_id, name].texts]


def agents_texts(board: Board, env_id: str) -> list[dict[str, Any]]:
    """The card's prompts, and what the agents wrote behind each."""
    card, writers = board.card(env_id), writers_on(board, env_id)
    if card is None or not writers:
        return []
    return [
        texts_behind(each.prompt, {name: board.exhibits[env_id, name].texts[place] for name in writers})
        for place, each in enumerate(card.texts)
    ]


def optimum_table(card: Card) -> Table:
    """The numbers of the optimum."""
    lower, upper = card.value_interval
    value = f"{card.value:.5g}" if card.exact else f"{card.value:.4g} [{lower:.4g}, {upper:.4g}]"
    return ("of the optimum", "value"), [
        ("J*", value),
        ("J(pi0)", f"{card.reference_value:.4g}"),
        ("expected reward", f"{card.expected_reward:.4g}"),
        ("KL (nats)", f"{card.kl:.4g}"),
        ("exact", "yes" if card.exact else "no, certified by sampling"),
        ("found by", card.method),
    ]


def frontier_table(card: Card) -> Table:
    """The frontier as a table, for whoever does not see the plane."""
    rows = [(number(each.kl_coef), number(each.kl), f"{each.expected_reward:.4g}") for each in card.frontier]
    return ("kl_coef", "KL (nats)", "expected reward"), rows
