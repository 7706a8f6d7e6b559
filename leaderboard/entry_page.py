"""The page of an entry: how it was run, what it reached, how it got there and what it writes."""

from __future__ import annotations

from typing import Any

from klrl_envs.results.entry import Entry, Seed, file_stem
from klrl_envs.results.outcome import shown_score
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import is_final
from leaderboard.board import UP, Board, environment_page, texts_behind
from leaderboard.charts import curves_of, plane_of
from leaderboard.headline import PAIRS, shown_chance
from leaderboard.render import code_url, render, style_of
from leaderboard.tables import Table, evaluated, mark, number, short_commit, standing


def entry_text(board: Board, entry: Entry) -> str:
    """The page of an entry."""
    name, card = entry.agent.name, board.card(entry.env_id)
    exhibit = board.exhibits.get((entry.env_id, name))
    colour = board.style[name][0]
    plane = None
    if card is not None:
        plane = plane_of(card, [entry], board.style, board.facets_on(entry.env_id))
    return render(
        "entry.html.jinja",
        up=UP,
        name=name,
        mark=mark(entry, board.doubts),
        env=short_id(entry.env_id),
        env_url=UP + environment_page(entry.env_id),
        style=style_of(board.style[name]),
        score=shown_score(entry.score, entry.score_interval),
        facts=facts_of(entry),
        code=entry.agent.url,
        code_url=code_url(entry.agent.url, board.code),
        command=entry.command,
        download=f"{file_stem(entry.env_id, name)}.json",
        seeds=seeds_table(entry),
        plane=plane,
        curves=None if exhibit is None else curves_of(exhibit, colour),
        approximate=exhibit is not None and exhibit.approximate,
        texts=texts_of(board, entry),
        texts_seed=None if exhibit is None else exhibit.texts_seed,
        pairs=pairs_table(board, entry),
        pairs_note=PAIRS,
    )


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """What an entry's page lists: its numbers, what the agent is, and what it ran on."""
    return [
        ("tier", standing(entry.tier, final=is_final(entry))),
        ("expected reward", number(entry.mean("expected_reward"))),
        ("KL (nats)", number(entry.mean("kl"))),
        ("regret", number(entry.mean("regret"))),
        ("tokens", f"{entry.mean('tokens'):,.0f}"),
        ("log-probs", evaluated(entry)),
        ("kind", entry.agent.kind),
        ("observes", entry.agent.observes),
        ("trains", entry.agent.trains),
        ("tuned", entry.agent.tuned),
        ("license", entry.agent.license),
        ("kl_coef", f"{entry.kl_coef:g}"),
        ("commit", ", ".join(entry.distinct("commit"))),
        ("date", ", ".join(entry.distinct("date"))),
        ("hardware", "; ".join(map(str, entry.distinct("hardware")))),
        ("versions", "; ".join(map(str, entry.distinct("versions")))),
        ("task", entry.task_sha256),
    ]


def seeds_table(entry: Entry) -> Table:
    """A row a seed."""

    def spent(tokens: int | None) -> str:
        return "–" if tokens is None else f"{tokens:,}"

    def row(seed: Seed) -> list[str]:
        found = seed.evaluation
        return [
            str(seed.seed),
            shown_score(seed.score, seed.score_interval),
            number(seed.expected_reward),
            number(seed.kl),
            number(seed.regret),
            f"{seed.tokens:,}",
            spent(seed.tokens_to_half),
            spent(seed.tokens_to_nine_tenths),
            f"{seed.seconds:,.0f}",
            "–" if found is None else f"{found.episodes:,}",
            short_commit(seed.commit or entry.commit),
        ]

    headings = ("seed", "score [95 %]", "expected reward", "KL (nats)", "regret", "tokens", "to .5", "to .9",
                "seconds", "episodes", "commit")  # fmt: skip
    return headings, [row(seed) for seed in entry.seeds]


def texts_of(board: Board, entry: Entry) -> list[dict[str, Any]]:
    """Prompts, and what pi0, the agent and pi* wrote behind them; none where its exhibit has no texts."""
    exhibit, card = board.exhibits.get((entry.env_id, entry.agent.name)), board.card(entry.env_id)
    if card is None or exhibit is None or not exhibit.texts:
        return []
    return [
        texts_behind(each.prompt, {"pi0": each.reference, entry.agent.name: own, "pi*": each.optimal})
        for each, own in zip(card.texts, exhibit.texts, strict=True)
    ]


def pairs_table(board: Board, entry: Entry) -> Table:
    """The chance to win against each other agent on the environment."""
    rows = [
        (pair.second, shown_chance(on.chance, on.interval))
        for each in board.aggregate.pairs
        for pair in (each, each.reversed())
        if pair.first == entry.agent.name
        for on in pair.environments
        if on.env_id == entry.env_id
    ]
    return ("against", "chance to win [95 %]"), rows
