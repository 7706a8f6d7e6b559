"""What all pages of the board are made from, read once and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from klrl_envs.results.entry import Entry, file_id, file_stem
from klrl_envs.results.look import Style, styles
from leaderboard.aggregate import Aggregate
from leaderboard.cards import Card, Written
from leaderboard.challenge import Challenge, doubted
from leaderboard.exhibits import Exhibit
from leaderboard.facets import Facets, facets_by_agent, facets_of
from leaderboard.history import History
from leaderboard.render import code_url, style_of
from leaderboard.tables import Column, Doubted, mark, number

UP = "../"
"""From a page of an entry or an environment to the board."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """Entries and what lies beside them.

    Attributes:
        entries: all, by environment and from the best down.
        aggregate: of all agents.
        history, challenges: as their tables show them.
        cards: by environment.
        exhibits: by environment and agent.
        pages: whether entries and environments have pages of their own, which are linked then.
        code: leads to the repository's files, as "../" or an address; "" where nobody knows.
    """

    entries: Sequence[Entry]
    aggregate: Aggregate
    history: History
    challenges: Sequence[Challenge]
    cards: dict[str, Card]
    exhibits: dict[tuple[str, str], Exhibit]
    pages: bool = False
    code: str = "../"

    @cached_property
    def doubts(self) -> Doubted:
        """The entries that are challenged."""
        return doubted(self.entries, self.challenges)

    @cached_property
    def style(self) -> dict[str, Style]:
        """Colour and shape of each agent."""
        return styles(entry.agent.name for entry in self.entries)

    @cached_property
    def facets(self) -> dict[str, Facets]:
        """What each agent is filtered by."""
        return facets_by_agent(self.entries, self.aggregate)

    def on(self, env_id: str) -> list[Entry]:
        """The entries on an environment."""
        return [entry for entry in self.entries if entry.env_id == env_id]

    def card(self, env_id: str) -> Card | None:
        """The card of an environment, where there is one and it is of the task of all entries there."""
        card = self.cards.get(env_id)
        return card if card is not None and all(map(card.fits, self.on(env_id))) else None

    def facets_on(self, env_id: str) -> dict[str, Facets]:
        """What each agent is filtered by as far as it stands on one environment."""
        return {
            entry.agent.name: facets_of(entry, self.facets[entry.agent.name]["coverage"])
            for entry in self.on(env_id)
        }

    def table(self, entries: Sequence[Entry], columns: Sequence[Column], up: str) -> dict[str, Any]:
        """A table of entries whose first column is the agent: linked to its entry's page, or to its code.

        Args:
            entries: a row each.
            columns: the first is the agent.
            up: leads from the page to the board's folder.
        """
        rows = [
            {
                "name": entry.agent.name,
                "mark": mark(entry, self.doubts),
                "url": up + entry_page(entry) if self.pages else code_url(entry.agent.url, self.code),
                "facets": facets_of(entry, self.facets[entry.agent.name]["coverage"]),
                "style": style_of(self.style[entry.agent.name]),
                "cells": [cell(entry) for _, cell in columns[1:]],
            }
            for entry in entries
        ]
        return {"headings": [heading for heading, _ in columns], "rows": rows}


def entry_page(entry: Entry) -> str:
    """Where the page of an entry lies, from the board's folder."""
    return f"entries/{file_stem(entry.env_id, entry.agent.name)}.html"


def environment_page(env_id: str) -> str:
    """Where the page of an environment lies, from the board's folder."""
    return f"environments/{file_id(env_id)}.html"


def texts_behind(prompt: str, texts: Mapping[str, Written]) -> dict[str, Any]:
    """A prompt, and the texts behind it by their writers, each with its reward.

    One that goes on with the prompt's last word begins with dots.
    """

    def shown(text: str) -> str:
        return f"…{text}" if prompt[-1:].isalnum() and text[:1].isalnum() else text.strip()

    told = [(name, (number(each.reward), shown(each.text))) for name, each in texts.items()]
    return {"prompt": prompt, "texts": told}
