"""References whose next token depends on the last one alone (bigram), or on nothing (uniform)."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.protocol import BoolArray, IntArray


class MarkovReference:
    """A bigram language model, the ``BigramReference`` of the public interface.

    Args:
        start_log_probs: float64 [V], log pi0 of the first token, in nats.
        log_probs: float64 [V, V], log pi0(token | previous token); the row is the previous token.
        name: how the reference is called in cards and errors.
        fingerprint: SHA-256 of what the log-probs were computed from, where that is known: the table's
            own last bits depend on the processor that took its logarithms.

    ``table`` [C, V] holds one row a context, C = V + 1: context v < V is "the last token was v",
    context V is the start.

    Raises:
        ValueError: a shape is wrong, a row has a zero or NaN, or does not sum to one within 1e-9.
    """

    def __init__(
        self,
        start_log_probs: ArrayLike,
        log_probs: ArrayLike,
        *,
        name: str = "bigram",
        fingerprint: str | None = None,
    ) -> None:
        start = np.asarray(start_log_probs, dtype=np.float64)
        rows = np.asarray(log_probs, dtype=np.float64)
        if start.ndim != 1 or start.size == 0:
            raise ValueError(f"start_log_probs must have shape [V] with V >= 1, got {start.shape}")
        if rows.shape != (start.size, start.size):
            raise ValueError(f"log_probs must have shape {(start.size, start.size)}, got {rows.shape}")
        self._set(np.concatenate([rows, start[None]]), name, fingerprint)

    def _set(self, table: NDArray[np.float64], name: str, fingerprint: str | None) -> None:
        check_rows(table)
        self.name = name
        self._fingerprint = fingerprint
        self.table = table
        self.contexts, self.vocab_size = table.shape
        self.start_context = self.contexts - 1

    longest: int | None = None

    def next_context(self, tokens: IntArray) -> IntArray:
        """The context after each token, same shape."""
        return tokens

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the table, or what was given."""
        if self._fingerprint is not None:
            return self._fingerprint
        return hashlib.sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest()

    def lanes(self, count: int, max_length: int) -> MarkovLanes:
        """State of ``count`` sequences (their length does not matter)."""
        return MarkovLanes(self, count)

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> NDArray[np.float64]:
        """See ``Reference.sequence_log_probs``."""
        position = np.arange(tokens.shape[1])
        written = np.where(position < lengths[:, None], tokens, 0)
        start = np.full((len(tokens), 1), self.start_context, dtype=np.int64)
        contexts = np.concatenate([start, self.next_context(written[:, :-1])], axis=1)
        counted = (position >= first[:, None]) & (position < lengths[:, None])
        return np.where(counted, self.table[contexts, written], 0.0)


class UniformReference(MarkovReference):
    """Every one of ``vocab_size`` tokens alike; a single context."""

    def __init__(self, vocab_size: int) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
        self._set(np.full((1, vocab_size), -np.log(vocab_size)), "uniform", None)

    def next_context(self, tokens: IntArray) -> IntArray:
        """Zero, whatever the token."""
        return np.zeros_like(tokens)


class MarkovLanes:
    """The contexts of N sequences under a Markov reference."""

    def __init__(self, reference: MarkovReference, count: int) -> None:
        self._reference = reference
        self.context = np.full(count, reference.start_context, dtype=np.int64)

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """See ``ReferenceLanes.reset``."""
        self.context[lanes] = self._reference.start_context
        if tokens.shape[1]:
            last = tokens[np.arange(len(lanes)), np.maximum(lengths - 1, 0)]
            after = self._reference.next_context(last)
            self.context[lanes] = np.where(lengths > 0, after, self._reference.start_context)

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """See ``ReferenceLanes.step``."""
        self.context = np.where(active, self._reference.next_context(tokens), self.context)

    def log_probs(self) -> NDArray[np.float64]:
        """See ``ReferenceLanes.log_probs``."""
        return self._reference.table[self.context]

    def log_prob(self, tokens: IntArray) -> NDArray[np.float64]:
        """See ``ReferenceLanes.log_prob``."""
        return self._reference.table[self.context, tokens]

    def hidden(self) -> NDArray[np.float32]:
        """A table has no hidden state."""
        raise TypeError(f"the reference {self._reference.name!r} is a table and has no hidden state")


def check_rows(table: NDArray[np.float64], tolerance: float = 1e-9) -> None:
    """Raise ValueError unless every row of log-probabilities [C, V] is a distribution of full support."""
    if not np.all(np.isfinite(table)):
        context, token = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(
            f"a reference needs full support and finite log-probs: row {context}, token {token} "
            f"is {table[context, token]}"
        )
    total = np.exp(table).sum(axis=1)
    worst = int(np.argmax(np.abs(total - 1)))
    if abs(total[worst] - 1) > tolerance:
        raise ValueError(
            f"every row of a reference must sum to one within {tolerance:g}: "
            f"row {worst} sums to {total[worst]:.12g}"
        )
