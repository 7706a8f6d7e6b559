"""Reward automata: the rewards for which the optimum of a text environment is known exactly.

A `RewardAutomaton` reads the tokens of a text one at a time, moves between finitely many states and
pays rewards on the way and at the end. Beside an n-gram reference its states make a finite Markov
decision process, which `klrl_envs.optima.dynamic_programme.solve` solves to the last digit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

PROBABILITY_TOLERANCE = 1e-9
"""How far a distribution may be from summing to one."""


@dataclass(frozen=True, eq=False, init=False)
class RewardAutomaton:
    """A finite automaton over tokens that pays for what it reads.

    An episode draws a state q from `start`. At each step the agent chooses a token a; the token b that
    is executed is a itself, or is drawn from `execution[a]`; the step pays `reward[q, b]`, and q becomes
    `transition[q, b]`. The episode ends when the chosen token is the task's end token, when q is
    absorbing, or at the task's horizon. An end by end token or absorption pays `final_reward[q]` on top;
    the horizon, where it is neither, pays `horizon_reward[q]`. The end token is read like any other.
    The context of an n-gram reference follows the chosen token, not the executed one.

    Attributes (Q states, V tokens; arrays are read-only):
        transition: int64[Q, V], the next state.
        reward: float64[Q, V], paid for the executed token.
        final_reward: float64[Q], paid at the end in the state reached.
        start: float64[Q], the distribution of the first state.
        absorbing: bool[Q], the states that end the episode.
        horizon_reward: float64[Q], paid in place of `final_reward` where the horizon ends the episode.
        execution: float64[V, V] or None, row a the distribution of what is executed when a is chosen.
        context_reward: float64[C, V] or None, paid on top for a token in a context of the reference.

    Two automata are equal where their `fingerprint`s are.
    """

    transition: IntArray
    reward: FloatArray
    final_reward: FloatArray
    start: FloatArray
    absorbing: BoolArray
    horizon_reward: FloatArray
    execution: FloatArray | None
    context_reward: FloatArray | None

    def __init__(
        self,
        transition: ArrayLike,
        reward: ArrayLike | None = None,
        final_reward: ArrayLike | None = None,
        start: ArrayLike = 0,
        *,
        absorbing: ArrayLike | None = None,
        execution: ArrayLike | None = None,
        horizon_reward: ArrayLike | None = None,
        context_reward: ArrayLike | None = None,
    ) -> None:
        """Check and keep the parts.

        Args:
            transition: int[Q, V], entries in 0..Q-1.
            reward: float[Q, V], finite; zero where None.
            final_reward: float[Q], finite; zero where None.
            start: a state, or float[Q] probabilities, with nothing on an absorbing state.
            absorbing: bool[Q]; none where None.
            execution: float[V, V] whose rows are distributions; the chosen token itself where None.
            horizon_reward: float[Q], finite; `final_reward` where None.
            context_reward: float[C, V], finite, C the contexts of the reference (a bigram's are the last
                token, and V at the start); none where None. It does not go with `execution`.

        Raises:
            ValueError: an argument of another shape, range or kind; the message names it.
        """
        table = _transition(transition)
        states, tokens = table.shape
        final = _rewards("final_reward", final_reward, (states,))
        stops = _absorbing(absorbing, states)
        parts: dict[str, NDArray[Any] | None] = {
            "transition": table,
            "reward": _rewards("reward", reward, (states, tokens)),
            "final_reward": final,
            "start": _start(start, stops),
            "absorbing": stops,
            "horizon_reward": (
                final if horizon_reward is None else _rewards("horizon_reward", horizon_reward, (states,))
            ),
            "execution": None if execution is None else _execution(execution, tokens),
            "context_reward": None if context_reward is None else _context_reward(context_reward, tokens),
        }
        if execution is not None and context_reward is not None:
            raise ValueError("context_reward needs that the chosen token is executed: leave out execution")
        for name, array in parts.items():
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def states(self) -> int:
        """Q, the number of states."""
        return self.transition.shape[0]

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""
        return self.transition.shape[1]

    @property
    def deterministic(self) -> bool:
        """Whether the state is a function of the first state and the chosen tokens.

        Only then is the optimum the reference tilted by the reward (theory: pi0 exp(r/beta) / Z).
        """
        return self.execution is None

    @property
    def terminal(self) -> bool:
        """Whether every reward is paid at the end of the episode."""
        return not self.reward.any() and (self.context_reward is None or not self.context_reward.any())

    def range_within(self, horizon: int) -> tuple[float, float]:
        """Bounds of the total reward of ``horizon`` tokens, from those of a step and of the end."""
        last = np.concatenate([self.final_reward, self.horizon_reward])
        low, high = float(self.reward.min()), float(self.reward.max())
        if self.context_reward is not None:
            low += float(self.context_reward.min())
            high += float(self.context_reward.max())
        return min(low, horizon * low) + float(last.min()), max(high, horizon * high) + float(last.max())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that determines the automaton's behaviour."""
        digest = hashlib.sha256(b"klrl reward automaton 1")
        for name in (
            "transition", "reward", "final_reward", "start", "absorbing", "horizon_reward", "execution",
            "context_reward",
        ):  # fmt: skip
            array = getattr(self, name)
            if array is not None:
                ordered = np.ascontiguousarray(array)
                little = ordered.astype(ordered.dtype.newbyteorder("<"), copy=False)
                digest.update(f"{name} {ordered.dtype.name} {ordered.shape}".encode())
                digest.update(little.tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        """Equal behaviour: equal fingerprints."""
        return isinstance(other, RewardAutomaton) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        """Of the fingerprint, so that an automaton can be a key."""
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        """Sizes alone: the tables can be large."""
        kind = "" if self.deterministic else ", stochastic execution"
        return f"RewardAutomaton({self.states} states, {self.vocab_size} tokens{kind})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached fingerprint."""
        return {name: value for name, value in self.__dict__.items() if name != "fingerprint"}

    def __setstate__(self, parts: dict[str, Any]) -> None:
        """Arrays lose their read-only flag in a pickle; set it again."""
        for name, value in parts.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def read(
        self,
        state: IntArray,
        chosen: IntArray,
        *,
        context: IntArray | None = None,
        executed: IntArray | None = None,
        end_token: int | None = None,
    ) -> tuple[FloatArray, IntArray, BoolArray]:
        """One step of N texts: the one way in which a text is followed.

        Args:
            state: int64[N], where the texts are.
            chosen: int64[N], the next token of each.
            context: int64[N], of the reference; needed where there is a `context_reward`.
            executed: int64[N], what took the place of what was chosen; the same where None.
            end_token: the token whose choice ends a text, or None.

        Returns:
            What the step pays float64[N], the next states int64[N], and which texts end here bool[N], before
            the horizon's own end. What the end itself pays is `settle`'s.
        """
        taken = chosen if executed is None else executed
        paid, after = self.reward[state, taken], self.transition[state, taken]
        if self.context_reward is not None:
            paid = paid + self.context_reward[context, taken]
        ends = self.absorbing[after]
        return paid, after, ends if end_token is None else ends | (chosen == end_token)

    def settle(self, state: IntArray, ended: BoolArray) -> FloatArray:
        """What the end pays float64[N] in states int64[N]; ended bool[N]: before the horizon's end."""
        return np.where(ended, self.final_reward[state], self.horizon_reward[state])

    def starts(
        self, context: int, prompts: tuple[IntArray, IntArray] | None = None
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Where an episode starts: contexts int64[N] of the reference, states int64[N], their probabilities.

        Args:
            context: of the reference before the first token.
            prompts: (contexts int64[M], states int64[M]) after each prompt, all alike; `start` where None.
        """
        if prompts is not None:
            return *prompts, np.full(prompts[0].size, 1 / prompts[0].size)
        state = np.flatnonzero(self.start)
        return np.full_like(state, context), state, self.start[state]

    def trimmed(self) -> RewardAutomaton:
        """This automaton without the states that no text reaches; the others keep their order."""
        kept = np.flatnonzero(self.reachable())
        if kept.size == self.states:
            return self
        place = np.zeros(self.states, dtype=np.int64)
        place[kept] = np.arange(kept.size)
        return RewardAutomaton(
            np.where(self.absorbing[kept, None], np.arange(kept.size)[:, None], place[self.transition[kept]]),
            self.reward[kept],
            self.final_reward[kept],
            self.start[kept],
            absorbing=self.absorbing[kept],
            horizon_reward=self.horizon_reward[kept],
            execution=self.execution,
            context_reward=self.context_reward,
        )

    def reachable(self, steps: int | None = None) -> BoolArray:
        """The states that some text reaches.

        Args:
            steps: within so many tokens; without limit where None.

        Returns:
            bool[Q].
        """
        seen = self.start > 0
        frontier = seen
        limit = self.states if steps is None else steps
        for _ in range(limit):
            sources = frontier & ~self.absorbing
            following = np.zeros(self.states, dtype=bool)
            following[self.transition[sources]] = True
            frontier = following & ~seen
            if not frontier.any():
                break
            seen = seen | frontier
        return seen


def _array(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array, got rows of unequal lengths") from error


def _shape(name: str, array: NDArray[Any], shape: Iterable[int]) -> None:
    expected = tuple(shape)
    if array.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")


def _transition(value: ArrayLike) -> IntArray:
    table = _array("transition", value)
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


def _numbers(name: str, value: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    array = _array(name, value)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}")
    _shape(name, array, shape)
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise ValueError(f"{name}{list(place)} is {numbers[place]}; allowed are finite numbers")
    return numbers


def _rewards(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    return np.zeros(shape) if value is None else _numbers(name, value, shape)


def _absorbing(value: ArrayLike | None, states: int) -> BoolArray:
    if value is None:
        return np.zeros(states, dtype=bool)
    array = _array("absorbing", value)
    if array.dtype.kind != "b":
        raise ValueError(f"absorbing must be an array of bool, one per state, got dtype {array.dtype}")
    _shape("absorbing", array, (states,))
    return array.copy()


def _start(value: ArrayLike, absorbing: BoolArray) -> FloatArray:
    array = _array("start", value)
    states = absorbing.size
    if array.ndim == 0:
        if array.dtype.kind not in "iu" or not 0 <= int(array) < states:
            raise ValueError(f"start must be a state, 0 to {states - 1}, or probabilities; got {value!r}")
        distribution = np.zeros(states)
        distribution[int(array)] = 1.0
    else:
        distribution = _numbers("start", value, (states,))
        _distributions("start", distribution[None, :])
    if distribution[absorbing].any():
        state = int(np.flatnonzero((distribution > 0) & absorbing)[0])
        raise ValueError(f"start puts probability on state {state}, which is absorbing: nothing can follow")
    return distribution


def _execution(value: ArrayLike, tokens: int) -> FloatArray:
    execution = _numbers("execution", value, (tokens, tokens))
    _distributions("execution", execution)
    return execution


def _context_reward(value: ArrayLike, tokens: int) -> FloatArray:
    array = _array("context_reward", value)
    return _numbers("context_reward", value, (*array.shape[:1], tokens))


def _distributions(name: str, rows: FloatArray) -> None:
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
