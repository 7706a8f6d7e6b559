"""Brackets: well-formed nesting beside the habits of real source code.

## Description
Write a nest of round, square and curly brackets with atoms and commas anywhere between, all closed in the
right order, some inside others, of a length in a given range, and otherwise as brackets stand in real
source code. The reference, a bigram, cannot count.

## Action Space
``Discrete(9)``: 0 ends the text, 1 an atom ``x``, 2 a comma, then ``( ) [ ] { }``.

## Observation Space
``Box(int64, (20,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead the open brackets from the outermost (5 places of 3 bits), their
number over 5, the tokens written over ``longest``, whether the text is nested yet, whether it can still
succeed, the time left and the row log pi0(.|last token), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: 1 for a text of ``shortest`` to ``longest`` tokens before the end token in which every
bracket is closed by its own kind, in order, never more than 5 are open, and at some place 2 or more
are; else 0. Atoms and commas may stand anywhere. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` and ``nested``, 1 for a text that is 2 deep
somewhere and that could still succeed, or did.

## Arguments
``kl_coef`` (.1), ``horizon`` (20; below ``shortest`` nothing can be earned), ``shortest`` (10) and
``longest`` (16) in tokens, ``reference`` ("code", a bigram over the 9 symbols estimated from Python's
standard library, see ``assets/cards/brackets.md``).

## Optimum
Exact: a bigram times an automaton whose states are the open brackets, the length and whether the text is
nested, of those from which it can still succeed, and one for the rest.

## References
Dyck languages: Chomsky and Schuetzenberger 1963, The algebraic theory of context-free languages.

## Version History
v0: first version.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.catalogue import load
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import is_whole

OPENING, CLOSING = "([{", ")]}"
DEEPEST = 5
NESTED = 2
"""A text must be this deep somewhere."""

State = tuple[str, int, bool]
"""The open brackets, the length in tokens, and whether the text has been NESTED deep."""


def task(
    *, kl_coef: float, horizon: int = 20, shortest: int = 10, longest: int = 16, reference: str = "code"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    if not (is_whole(shortest) and is_whole(longest)) or not 4 <= shortest <= longest <= 64:
        raise ValueError(
            f"shortest and longest must be 4 <= shortest <= longest <= 64, got {shortest!r}, {longest!r}"
        )
    model = load(reference, allowed=("code",))
    automaton, states = nesting(model.words, int(shortest), int(longest))
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=features_of(states, int(longest)),
        final_metrics={"nested": np.array([*(nested for _, _, nested in states), False], dtype=np.float64)},
    )


@lru_cache(maxsize=4)
def nesting(
    symbols: tuple[str, ...], shortest: int, longest: int
) -> tuple[RewardAutomaton, tuple[State, ...]]:
    """The automaton of well-formed nests, and its states but for the last, which is dead.

    The states are those that some text reaches and from which some text succeeds. Token 0 ends the text and
    leaves the state as it is.
    """
    start: State = ("", 0, False)
    known: dict[State, int] = {start: 0}
    waiting: list[State] = [start]
    rows: list[list[State | None]] = []
    for state in waiting:
        row = [after(state, symbol, longest) for symbol in symbols[1:]]
        rows.append([state, *row])
        for following in row:
            if following is not None and following not in known:
                known[following] = len(known)
                waiting.append(following)
    dead = len(known)
    transition = np.full((dead + 1, len(symbols)), dead)
    for number, row in enumerate(rows):
        transition[number] = [dead if state is None else known[state] for state in row]
    final = [not stack and nested and length >= shortest for stack, length, nested in waiting]
    return RewardAutomaton(transition, final_reward=np.array([*final, False])), tuple(waiting)


def after(state: State, symbol: str, longest: int) -> State | None:
    """The state after one more symbol, or None where no text can succeed from there."""
    stack, length, nested = state
    if symbol in OPENING:
        stack += symbol
    elif symbol in CLOSING:
        if not stack or OPENING[CLOSING.index(symbol)] != stack[-1]:
            return None
        stack = stack[:-1]
    nested = nested or len(stack) >= NESTED
    # what must still be written: the closing brackets, and a nest where there was none
    needed = len(stack) + (0 if nested else 2 * (NESTED - len(stack)))
    if len(stack) > DEEPEST or length + 1 + needed > longest:
        return None
    return stack, length + 1, nested


def features_of(states: tuple[State, ...], longest: int) -> NDArray[np.float32]:
    """float32 [Q, 3 * 5 + 4]: open brackets, their number, the length, nested, alive; zero where dead."""
    table = np.zeros((len(states) + 1, 3 * DEEPEST + 4), dtype=np.float32)
    for row, (stack, length, nested) in zip(table, states):
        for place, bracket in enumerate(stack):
            row[3 * place + OPENING.index(bracket)] = 1
        row[3 * DEEPEST :] = len(stack) / DEEPEST, length / longest, nested, 1
    return table
