"""Reading a conversation that is written out: whose token is whose, and what was paid for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from klrl_envs.reward.replies import Replies

if TYPE_CHECKING:
    from klrl_envs.tasks.automaton_task import AutomatonTask


@dataclass(frozen=True)
class ReadConversation:
    """A conversation in tokens.

    Attributes:
        reward: the mean of what may have been paid for it, given what was said.
        own: for each token up to the end, whether the agent wrote it.
    """

    reward: float
    own: tuple[bool, ...]


@dataclass(frozen=True)
class Way:
    """A way on which a conversation may have come to a place: the automaton's state there, and the rest."""

    chance: float
    state: int
    own: tuple[bool, ...] = ()
    paid: float = 0.0
    time: int = 0
    ended: bool = False


def read_conversation(task: AutomatonTask, tokens: Sequence[int]) -> ReadConversation:
    """Follow a text of both sides on every way on which it may have come about.

    What is said first may be missing, as where it stands in a prompt; so may the reply to the last word, of
    which the mean is paid. What stands after the end is not read.

    Args:
        task: one that writes replies.
        tokens: of both sides.

    Raises:
        ValueError: a reply that the task never writes there.
    """
    replies, automaton = task.replies, task.automaton
    assert replies is not None
    starts = [Way(float(automaton.start[state]), state) for state in np.flatnonzero(automaton.start).tolist()]
    waiting = [way for start in starts for way in heard(replies, start, tokens)]
    waiting = waiting or [way for start in starts for way in unheard(replies, start)]
    ends: list[Way] = []
    while waiting:
        way = waiting.pop()
        place = len(way.own)
        if replies.speaks[way.state]:
            missing = place == len(tokens)
            waiting += unheard(replies, way) if missing else heard(replies, way, tokens)
        elif way.ended or automaton.absorbing[way.state]:
            ends.append(replace(way, paid=way.paid + float(automaton.final_reward[way.state])))
        elif way.time == task.horizon or place == len(tokens):
            ends.append(replace(way, paid=way.paid + float(automaton.horizon_reward[way.state])))
        else:
            waiting.append(written(task, way, tokens))
    if not ends:
        raise ValueError(f"this is no conversation of {task.id}: a reply is another than it gives")
    total = sum(way.chance for way in ends)
    reward = sum(way.chance * way.paid for way in ends) / total
    return ReadConversation(reward, max(ends, key=lambda way: way.chance).own)


def written(task: AutomatonTask, way: Way, tokens: Sequence[int]) -> Way:
    """A way on by the agent's next token."""
    place = len(way.own)
    token, context = np.array(tokens[place : place + 1]), None
    if task.automaton.context_reward is not None:
        context = task.reference.context_after(np.array([tokens[:place]], dtype=np.int64), np.array([place]))
    paid, after, _ = task.automaton.read(np.array([way.state]), token, context=context)
    return Way(
        way.chance,
        int(after[0]),
        (*way.own, True),
        way.paid + float(paid[0]),
        way.time + 1,
        int(token[0]) == task.end_token,
    )


def heard(replies: Replies, way: Way, tokens: Sequence[int]) -> Iterator[Way]:
    """A way on by each reply that stands there; itself where its state is silent."""
    place = len(way.own)
    for outcome in outcomes(replies, way.state):
        length = int(replies.lengths[replies.text[outcome]])
        text = replies.texts[replies.text[outcome], :length].tolist()
        if list(tokens[place : place + length]) == text:
            own = way.own + (False,) * length
            chance = way.chance * float(replies.chance[outcome])
            yield replace(way, chance=chance, state=int(replies.after[outcome]), own=own)
    if not replies.speaks[way.state]:
        yield way


def unheard(replies: Replies, way: Way) -> Iterator[Way]:
    """A way on by each reply that may follow where none stands; itself where its state is silent."""
    for outcome in outcomes(replies, way.state):
        chance = way.chance * float(replies.chance[outcome])
        yield replace(way, chance=chance, state=int(replies.after[outcome]))
    if not replies.speaks[way.state]:
        yield way


def outcomes(replies: Replies, state: int) -> list[int]:
    """The outcomes of a state; none where it is silent."""
    first, last = np.searchsorted(replies.state, [state, state + 1])
    return list(range(int(first), int(last)))
