"""Cards of the environments: what their pages and the reward-KL planes show beside the entries.

    python -m leaderboard.cards [ENV_ID ...]    write those that are missing or of another task

One file an environment of the registry, `leaderboard/cards/<environment>.json`: its optimum, the frontier,
the law of the reward, and texts of pi0 and of pi* on the same prompts, drawn and not chosen. They need the
optima, which takes seconds to minutes; the page is built from the files alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.shown_texts import ShownText, optimal_texts, reference_texts
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.result import Optimum
from klrl_envs.reference.arrays import IntArray
from klrl_envs.registry import REGISTRY, find_row
from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry, file_id
from klrl_envs.results.record import Bounds, EnvId, Finite, NonNegative, Sha256
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.row import short_id
from leaderboard.folder import FOLDER, card_path
from leaderboard.laws import law_of
from leaderboard.plane import frontier

TEXTS, SEED = 6, 0
"""How many texts of each policy a card has, and the seed that draws them."""


class Point(Strict):
    """A point of the frontier: what pi* at this kl_coef reaches; nats."""

    kl_coef: NonNegative
    kl: NonNegative
    expected_reward: Finite


class Law(Strict):
    """The law of the reward as bars: the middle of each, and its probability under pi0 and under pi*.

    "computed", or from the samples of the certificate ("certified"), or from texts of both ("sampled").
    """

    method: Literal["computed", "certified", "sampled"]
    rewards: tuple[Finite, ...]
    reference: tuple[NonNegative, ...]
    optimal: tuple[NonNegative, ...]


class Written(Strict):
    """A text with its reward."""

    text: str
    reward: Finite


class Beside(Strict):
    """A prompt, and what pi0 and pi* write behind it."""

    prompt: str
    reference: Written
    optimal: Written


class Card(Document):
    """An environment's optimum at its kl_coef, with 95 % intervals, and what follows from it."""

    env_id: EnvId
    task_sha256: Sha256
    kl_coef: Annotated[float, Field(gt=0)]
    exact: bool
    value: Finite
    value_interval: Bounds
    reference_value: Finite
    expected_reward: Finite
    kl: NonNegative
    method: str
    frontier: Annotated[tuple[Point, ...], Field(min_length=1)]
    law: Law
    texts: Annotated[tuple[Beside, ...], Field(min_length=TEXTS, max_length=TEXTS)]

    def fits(self, entry: Entry) -> bool:
        """Whether it is of the task that an entry was scored on."""
        return (self.env_id, self.task_sha256) == (entry.env_id, entry.task_sha256)


def card_of(env_id: str) -> Card:
    """The card of an environment."""
    task = evaluation_task(env_id)
    best = optimum_of(task)
    law = law_of(task, best)
    rewards, reference, optimal = (tuple(map(digits, each.tolist())) for each in law.binned())
    return Card.model_validate(
        {
            "env_id": find_row(env_id).gym_id,
            "task_sha256": task.fingerprint,
            "kl_coef": best.kl_coef,
            "exact": best.exact,
            "value": digits(best.value),
            "value_interval": (digits(best.lower), digits(best.upper)),
            "reference_value": digits(best.reference_value),
            "expected_reward": digits(best.expected_reward),
            "kl": digits(best.kl),
            "method": best.method,
            "frontier": points_of(best),
            "law": {"method": law.method, "rewards": rewards, "reference": reference, "optimal": optimal},
            "texts": texts_of(task, best),
        }
    )


def digits(value: float) -> float:
    """A number to six digits, so that the last ones of another machine make no other file."""
    return float(f"{value:.6g}")


def points_of(best: Optimum) -> list[Point]:
    """The frontier, from pi0's end on."""
    return [
        Point(
            kl_coef=digits(point.kl_coef),
            kl=digits(point.kl),
            expected_reward=digits(point.expected_reward),
        )
        for point in frontier(best)
    ]


def prompts_shown(task: Task) -> IntArray:
    """The numbers of the prompts that texts are shown of, int64: evenly spaced, the same for all policies."""
    return np.linspace(0, len(task.prompts.tokens) - 1, TEXTS).astype(np.int64)


def texts_of(task: Task, best: Optimum) -> list[Beside]:
    """What pi0 and pi* write behind the same prompts."""
    prompts = prompts_shown(task)
    both = zip(reference_texts(task, prompts, SEED), optimal_texts(task, best, prompts, SEED), strict=True)
    return [
        Beside(prompt=first.prompt, reference=written(first), optimal=written(second))
        for first, second in both
    ]


def written(text: ShownText) -> Written:
    """A text as a record."""
    return Written(text=text.written, reward=digits(text.reward))


def load_cards(folder: Path) -> dict[str, Card]:
    """Every card of a folder of the leaderboard, by environment.

    Raises:
        ValueError: a file that is no card, or lies under another's name.
    """
    found: dict[str, Card] = {}
    for path in sorted((folder / "cards").glob("*.json")):
        card = Card.load(path)
        if path.stem != file_id(card.env_id):
            raise ValueError(f"{path}: this card's file must be called {file_id(card.env_id)}.json")
        found[card.env_id] = card
    return found


def uncarded(entries: Iterable[Entry], cards: dict[str, Card]) -> list[str]:
    """The environments of entries without a card of their task."""
    lacking = {
        each.env_id for each in entries if each.env_id not in cards or not cards[each.env_id].fits(each)
    }
    return sorted(lacking)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.cards", description="Write the cards of environments that lack one."
    )
    parser.add_argument("env_ids", nargs="*", metavar="ENV_ID", help="anew, whatever there is")
    options = parser.parse_args(arguments)
    present = load_cards(FOLDER)
    asked = [find_row(env_id).gym_id for env_id in options.env_ids]
    for env_id in asked or [row.gym_id for row in REGISTRY]:
        there = present.get(env_id)
        if not asked and there is not None and there.task_sha256 == evaluation_task(env_id).fingerprint:
            continue
        card_of(env_id).save(card_path(env_id, FOLDER))
        print(f"{short_id(env_id)}: {card_path(env_id, FOLDER).relative_to(FOLDER.parent)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
