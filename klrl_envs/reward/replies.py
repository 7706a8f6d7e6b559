"""What an environment writes itself: the turns of another speaker, drawn by the state of an automaton.

Some states of a `RewardAutomaton` *speak*. Where the agent's token leads to such a state, one of its outcomes
is drawn, the text of that outcome is written, and the automaton goes on from the state after it. No agent
acts in a speaking state, and no agent pays KL for what is written there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.markov import MarkovModel

TOLERANCE = 1e-9
"""How far the chances of a state's outcomes may be from summing to one."""
NOTHING = -1
"""What fills the rows of texts, and the outcome of a state that does not speak."""


@dataclass(frozen=True, eq=False, init=False)
class Replies:
    """K outcomes of the speaking states among Q, and M texts of at most R tokens.

    Attributes (read-only, outcomes in the order of their states):
        texts: int64[M, R], padded on the right with `NOTHING`.
        lengths: int64[M], at least 1.
        state: int64[K], the state that speaks.
        chance: float64[K], of the outcome in that state.
        text: int64[K], which text is written.
        after: int64[K], the next state, which does not speak.
        speaks: bool[Q].
    """

    texts: IntArray
    lengths: IntArray
    state: IntArray
    chance: FloatArray
    text: IntArray
    after: IntArray
    speaks: BoolArray

    def __init__(
        self,
        states: int,
        texts: Sequence[Sequence[int]],
        state: ArrayLike,
        chance: ArrayLike,
        text: ArrayLike,
        after: ArrayLike,
    ) -> None:
        """Check and keep the parts, in any order of the outcomes.

        Args:
            states: Q, of the automaton.
            texts: M of them, of tokens, none empty.
            state, text, after: int[K].
            chance: float[K], above 0; those of a state sum to one.

        Raises:
            ValueError: an argument of another shape or range; the message names it.
        """
        longest = max((len(tokens) for tokens in texts), default=0)
        if not longest or not all(texts):
            raise ValueError("texts must be at least one, and none of them empty")
        rows = np.array([[*tokens, *[NOTHING] * (longest - len(tokens))] for tokens in texts], dtype=np.int64)
        speaker = _indices("state", state, states)
        order = np.argsort(speaker, kind="stable")
        speaks = np.zeros(states, dtype=np.bool_)
        speaks[speaker] = True
        parts: dict[str, NDArray[Any]] = {
            "texts": rows,
            "lengths": (rows != NOTHING).sum(axis=1),
            "state": speaker[order],
            "chance": _chances(chance, speaker, states)[order],
            "text": _indices("text", text, len(texts), speaker.size)[order],
            "after": _indices("after", after, states, speaker.size)[order],
            "speaks": speaks,
        }
        if speaks[parts["after"]].any():
            raise ValueError("after must hold states that do not speak: nobody speaks twice in a row")
        for name, array in parts.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @cached_property
    def _firsts(self) -> IntArray:
        """The first outcome of each speaking state, in their order."""
        return np.searchsorted(self.state, np.flatnonzero(self.speaks))

    @cached_property
    def _ranks(self) -> IntArray:
        """int64[Q], the number of each speaking state among them."""
        return np.cumsum(self.speaks) - 1

    @cached_property
    def _cumulative(self) -> FloatArray:
        """float64[K], ascending: the rank of the state, and the chance up to the outcome."""
        ends = np.append(self._firsts[1:], self.state.size)
        counts = ends - self._firsts
        within = np.cumsum(self.chance)
        before = np.repeat(np.concatenate([[0.0], within])[self._firsts], counts)
        cumulative = self._ranks[self.state].astype(np.float64) + np.minimum(within - before, 1.0)
        cumulative[ends - 1] = np.arange(1, ends.size + 1)
        return cumulative

    @property
    def certain(self) -> bool:
        """Whether every speaking state has a single outcome."""
        return self._firsts.size == self.state.size

    @property
    def longest(self) -> int:
        """R, tokens of the longest text."""
        return self.texts.shape[1]

    def draw(self, state: IntArray, uniform: FloatArray) -> IntArray:
        """The outcomes int64[N] of speaking states [N] at uniform numbers [N] in [0, 1)."""
        rank = self._ranks[state]
        found = np.searchsorted(self._cumulative, rank + uniform, side="right")
        last = np.append(self._firsts[1:], self.state.size)[rank] - 1
        return np.minimum(found, last)  # the sum may have rounded up to the next rank

    def mean(self, worth: FloatArray) -> FloatArray:
        """The expectation float64[Q] of worth float64[K] in each state, zero where it does not speak."""
        total = np.bincount(self.state, weights=self.chance * worth, minlength=self.speaks.size)
        return total.astype(np.float64, copy=False)

    def spread(self, mass: FloatArray) -> FloatArray:
        """What each outcome gets, float64[K], of mass float64[Q] on the states: the transpose of `mean`."""
        return mass[self.state] * self.chance

    def contexts(self, reference: MarkovModel) -> IntArray:
        """The contexts int64[K] of a bigram, or of the uniform reference, after each outcome's text."""
        last = self.texts[np.arange(len(self.texts)), self.lengths - 1]
        after = reference.next_context(np.full_like(last, reference.start_context), last)
        return np.asarray(after, dtype=np.int64)[self.text]

    def branches(self, state: IntArray) -> tuple[IntArray, IntArray]:
        """All that may follow states [N]: which of the N, and the outcome, `NOTHING` where it is silent.

        Returns:
            int64[J] each, in the order of the states.
        """
        firsts = np.searchsorted(self.state, state)
        counts = np.searchsorted(self.state, state, side="right") - firsts
        silent = counts == 0
        counts = np.where(silent, 1, counts)
        lane = np.repeat(np.arange(state.size), counts)
        within = np.arange(lane.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return lane, np.where(silent[lane], NOTHING, firsts[lane] + within)

    def followed(
        self, reference: MarkovModel, context: IntArray, state: IntArray, weight: FloatArray
    ) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
        """All that may follow contexts, states and weights [N], once what is to be written is written.

        Returns:
            Which of the N int64[J], contexts int64[J], states int64[J], none of which speaks, and weights
            float64[J].
        """
        lane, outcome = self.branches(state)
        told = outcome != NOTHING
        weight = np.where(told, weight[lane] * self.chance[outcome], weight[lane])
        context = np.where(told, self.contexts(reference)[outcome], context[lane])
        return lane, context, np.where(told, self.after[outcome], state[lane]), weight

    def renumbered(self, kept: IntArray, place: IntArray) -> Replies | None:
        """The same of the states kept [P] alone, whose new numbers are place[kept]; None if none speaks."""
        there = np.isin(self.state, kept)
        if not there.any():
            return None
        texts = [row[:length].tolist() for row, length in zip(self.texts, self.lengths, strict=True)]
        return Replies(
            kept.size,
            texts,
            place[self.state[there]],
            self.chance[there],
            self.text[there],
            place[self.after[there]],
        )

    def digest(self) -> bytes:
        """SHA-256 of all that determines what is written."""
        total = hashlib.sha256(b"klrl replies 1")
        for array in (self.texts, self.state, self.chance, self.text, self.after):
            little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
            total.update(f"{array.dtype.name} {array.shape}".encode())
            total.update(little.tobytes())
        return total.digest()


def _indices(name: str, value: ArrayLike, limit: int, size: int | None = None) -> IntArray:
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "iu" or size not in (None, array.size) or not array.size:
        wanted = "[K] with K at least 1" if size is None else f"[{size}]"
        raise ValueError(f"{name} must be integers of shape {wanted}, got {array.dtype} {array.shape}")
    if array.min() < 0 or array.max() >= limit:
        seen = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name} must hold numbers from 0 to {limit - 1}, got {seen}")
    return array.astype(np.int64)


def _chances(value: ArrayLike, speaker: IntArray, states: int) -> FloatArray:
    chance = np.asarray(value, dtype=np.float64)
    if chance.shape != speaker.shape or not (np.isfinite(chance) & (chance > 0)).all():
        raise ValueError(f"chance must be {speaker.size} finite numbers above 0, got shape {chance.shape}")
    totals = np.bincount(speaker, weights=chance, minlength=states)[np.unique(speaker)]
    if (np.abs(totals - 1.0) > TOLERANCE).any():
        wrong = float(totals[np.abs(totals - 1.0) > TOLERANCE][0])
        raise ValueError(f"the chances of a state's outcomes sum to {wrong!r}; they must sum to 1")
    return chance
