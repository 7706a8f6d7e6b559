"""The parts of a reward automaton, checked: each error names the part, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reward.replies import Replies

PROBABILITY_TOLERANCE = 1e-9
"""How far a distribution may be from summing to one."""


def as_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """An array; ValueError where rows are of unequal lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array, got rows of unequal lengths") from error


def check_shape(name: str, array: NDArray[Any], shape: Iterable[int]) -> None:
    """Raise ValueError where an array has another shape."""
    expected = tuple(shape)
    if array.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")


def as_transition(value: ArrayLike) -> IntArray:
    """A transition as int64[Q, V]."""
    table = as_array("transition", value)
    if table.ndim != 2:
        raise ValueError(f"transition must have two axes [states, tokens], got shape {table.shape}")
    if table.shape[0] == 0:
        raise ValueError("transition has no states; at least one is needed")
    if table.shape[1] == 0:
        raise ValueError("transition has an empty vocabulary; at least one token is needed")
    if table.dtype.kind not in "iu":
        raise ValueError(f"transition must hold integers, got dtype {table.dtype}")
    outside = (table < 0) | (table >= table.shape[0])
    if outside.any():
        state, token = np.argwhere(outside)[0]
        raise ValueError(
            f"transition[{state}, {token}] is {table[state, token]}; "
            f"allowed are the states 0 to {table.shape[0] - 1}"
        )
    return table.astype(np.int64)


def as_numbers(name: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Finite numbers as float64 of a shape."""
    array = as_array(name, value)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}")
    check_shape(name, array, shape)
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise ValueError(f"{name}{list(place)} is {numbers[place]}; allowed are finite numbers")
    return numbers


def as_rewards(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    """Rewards as float64 of a shape; zero where None."""
    return np.zeros(shape) if value is None else as_numbers(name, value, shape)


def as_absorbing(value: ArrayLike | None, states: int) -> BoolArray:
    """Absorbing states as bool[Q]; none where None."""
    if value is None:
        return np.zeros(states, dtype=bool)
    array = as_array("absorbing", value)
    if array.dtype.kind != "b":
        raise ValueError(f"absorbing must be an array of bool, one per state, got dtype {array.dtype}")
    check_shape("absorbing", array, (states,))
    return array.copy()


def as_start(value: ArrayLike, absorbing: BoolArray) -> FloatArray:
    """The distribution float64[Q] of the first state, from a state or its probabilities."""
    array = as_array("start", value)
    states = absorbing.size
    if array.ndim == 0:
        if array.dtype.kind not in "iu" or not 0 <= int(array) < states:
            raise ValueError(f"start must be a state, 0 to {states - 1}, or probabilities; got {value!r}")
        distribution = np.zeros(states)
        distribution[int(array)] = 1.0
    else:
        distribution = as_numbers("start", value, (states,))
        check_distributions("start", distribution[None, :])
    if distribution[absorbing].any():
        state = int(np.flatnonzero((distribution > 0) & absorbing)[0])
        raise ValueError(f"start puts probability on state {state}, which is absorbing: nothing can follow")
    return distribution


def check_replies(replies: Replies, parts: Mapping[str, NDArray[Any] | None], tokens: int) -> None:
    """Raise ValueError where replies do not fit the other parts."""
    absorbing, start = parts["absorbing"], parts["start"]
    assert absorbing is not None and start is not None
    if parts["execution"] is not None:
        raise ValueError("replies need that the chosen token is executed: leave out execution")
    if replies.speaks.size != absorbing.size:
        raise ValueError(f"replies are of {replies.speaks.size} states, the automaton has {absorbing.size}")
    if replies.texts.max() >= tokens:
        raise ValueError(f"replies hold token {replies.texts.max()}; allowed are 0 to {tokens - 1}")
    if (replies.speaks & absorbing).any():
        raise ValueError("a speaking state must not be absorbing: the state after its text may be")
    if absorbing[replies.after[start[replies.state] > 0]].any():
        raise ValueError("what is said at the start leads to an absorbing state: nothing can follow")


def as_execution(value: ArrayLike, tokens: int) -> FloatArray:
    """Execution as float64[V, V], whose rows are distributions."""
    execution = as_numbers("execution", value, (tokens, tokens))
    check_distributions("execution", execution)
    return execution


def as_context_reward(value: ArrayLike, tokens: int) -> FloatArray:
    """A reward of context and token as float64[C, V]."""
    array = as_array("context_reward", value)
    return as_numbers("context_reward", value, (*array.shape[:1], tokens))


def check_distributions(name: str, rows: FloatArray) -> None:
    """Raise ValueError unless rows [N, V] are distributions."""
    if (rows < 0).any():
        raise ValueError(f"{name} has the probability {rows.min()}; allowed are 0 to 1")
    totals = rows.sum(axis=1)
    wrong = np.abs(totals - 1.0) > PROBABILITY_TOLERANCE
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        where = name if len(rows) == 1 else f"{name}[{row}]"
        raise ValueError(
            f"{where} sums to {totals[row]!r}; it must sum to 1 within {PROBABILITY_TOLERANCE:g}"
        )
