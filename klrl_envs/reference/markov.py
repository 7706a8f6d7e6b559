"""References of finitely many contexts: what they are to the solver, the bigram and the uniform one."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.sampling import tokens_at


class MarkovModel:
    """A reference of finitely many contexts: what exact tasks and the solver need of pi0.

    An arc is a token with the context that it leads to. Where the token alone decides the context (bigram,
    uniform) the arcs are the tokens; a trigram has an arc for each pair of tokens that it knows, too.

    Attributes:
        name, fingerprint, longest: see ``Reference``.
        vocab_size: V.
        contexts: C.
        start_context: the context before the first token.
        arc_tokens, arc_contexts: int64 [K], the token of each arc, and the context after it.
        least: the smallest log pi0(token | context), in nats.
    """

    name: str
    longest: int | None = None
    vocab_size: int
    contexts: int
    start_context: int
    arc_tokens: IntArray
    arc_contexts: IntArray
    least: float
    _fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the probabilities: what was given, or else of the tables."""
        return self._computed_fingerprint

    @cached_property
    def _computed_fingerprint(self) -> str:
        return self._digest() if self._fingerprint is None else self._fingerprint

    def _digest(self) -> str:
        raise NotImplementedError

    def rows(self, contexts: IntArray) -> FloatArray:
        """log pi0(.|context) [N, V] of contexts [N]."""
        raise NotImplementedError

    def put_rows(self, contexts: IntArray, out: NDArray[np.float32]) -> None:
        """Write ``rows`` of contexts [N] into out [N, V], in its precision."""
        out[:] = self.rows(contexts)

    def log_prob(self, contexts: IntArray, tokens: IntArray) -> FloatArray:
        """log pi0(token|context) of contexts and tokens, same shape."""
        raise NotImplementedError

    def next_context(self, contexts: IntArray, tokens: IntArray) -> IntArray:
        """The context after each token in each context, of shapes that broadcast."""
        raise NotImplementedError

    def arcs(self, contexts: IntArray) -> IntArray:
        """The arc that each token takes in contexts [N], as int64 [N, V]."""
        raise NotImplementedError

    def mean(self, values: FloatArray) -> FloatArray:
        """Expectation [C, Q] over the next token of values [K, Q] of the arcs."""
        raise NotImplementedError

    def push(self, mass: FloatArray) -> FloatArray:
        """Mass [K, Q] on the arcs, of mass [C, Q] on the contexts: the transpose of ``mean``."""
        raise NotImplementedError

    def lanes(self, count: int, max_length: int) -> MarkovLanes:
        """State of ``count`` sequences (their length does not matter)."""
        return MarkovLanes(self, count)

    def context_after(self, tokens: IntArray, lengths: IntArray) -> IntArray:
        """The context [N] after texts [N, L], of which lengths [N] tokens count."""
        context = np.full(len(tokens), self.start_context, dtype=np.int64)
        for position in range(tokens.shape[1]):
            written = position < lengths
            after = self.next_context(context, np.where(written, tokens[:, position], 0))
            context = np.where(written, after, context)
        return context

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> FloatArray:
        """See ``Reference.sequence_log_probs``."""
        position = np.arange(tokens.shape[1], dtype=np.int64)
        written = np.where(position < lengths[:, None], tokens, 0)
        contexts = np.full(tokens.shape, self.start_context, dtype=np.int64)
        for place in range(1, tokens.shape[1]):
            contexts[:, place] = self.next_context(contexts[:, place - 1], written[:, place - 1])
        counted = (position >= first[:, None]) & (position < lengths[:, None])
        return np.where(counted, self.log_prob(contexts, written), 0.0)


class MarkovReference(MarkovModel):
    """A bigram language model, the ``BigramReference`` of the public interface.

    Args:
        start_log_probs: float64 [V], log pi0 of the first token, in nats.
        log_probs: float64 [V, V], log pi0(token | previous token); the row is the previous token.
        name: how the reference is called in cards and errors.
        fingerprint: SHA-256 of what the log-probs were computed from, where that is known: the table's
            own last bits depend on the processor that took its logarithms.

    ``table`` [C, V] holds one row per context, C = V + 1: context v < V is "the last token was v",
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

    def _set(self, table: FloatArray, name: str, fingerprint: str | None) -> None:
        check_rows(table)
        self.name = name
        self._fingerprint = fingerprint
        self.table = table
        self.contexts, self.vocab_size = table.shape
        self.start_context = self.contexts - 1
        self.least = float(table.min())
        self.arc_tokens = np.arange(self.vocab_size, dtype=np.int64)
        self.arc_contexts = self.next_context(np.array(self.start_context), self.arc_tokens)

    @cached_property
    def probabilities(self) -> FloatArray:
        """float64 [C, V], pi0."""
        return np.exp(self.table)

    def rows(self, contexts: IntArray) -> FloatArray:
        """See ``MarkovModel``."""
        return self.table[contexts]

    def put_rows(self, contexts: IntArray, out: NDArray[np.float32]) -> None:
        """See ``MarkovModel``."""
        out[:] = self._rounded[contexts]

    @cached_property
    def _rounded(self) -> NDArray[np.float32]:
        """float32 [C, V], ``table``."""
        return self.table.astype(np.float32)

    def log_prob(self, contexts: IntArray, tokens: IntArray) -> FloatArray:
        """See ``MarkovModel``."""
        return self.table[contexts, tokens]

    def next_context(self, contexts: IntArray, tokens: IntArray) -> IntArray:
        """See ``MarkovModel``: the token, whatever the context."""
        return np.broadcast_to(tokens, np.broadcast_shapes(contexts.shape, tokens.shape))

    def arcs(self, contexts: IntArray) -> IntArray:
        """See ``MarkovModel``."""
        return np.broadcast_to(np.arange(self.vocab_size), (len(contexts), self.vocab_size))

    def mean(self, values: FloatArray) -> FloatArray:
        """See ``MarkovModel``."""
        return self.probabilities @ values

    def push(self, mass: FloatArray) -> FloatArray:
        """See ``MarkovModel``."""
        return self.probabilities.T @ mass

    def _digest(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.table).tobytes()).hexdigest()


class UniformReference(MarkovReference):
    """Every one of ``vocab_size`` tokens alike; a single context."""

    def __init__(self, vocab_size: int) -> None:
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
        self._set(np.full((1, vocab_size), -np.log(vocab_size)), "uniform", None)

    def next_context(self, contexts: IntArray, tokens: IntArray) -> IntArray:
        """Zero, whatever the token."""
        return np.zeros(np.broadcast_shapes(contexts.shape, tokens.shape), dtype=np.int64)


class MarkovLanes:
    """The contexts of N sequences under a Markov reference."""

    def __init__(self, reference: MarkovModel, count: int) -> None:
        self._reference = reference
        self.context = np.full(count, reference.start_context, dtype=np.int64)

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """See ``ReferenceLanes.reset``."""
        self.context[lanes] = self._reference.context_after(tokens, lengths)

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """See ``ReferenceLanes.step``."""
        self.context = np.where(active, self._reference.next_context(self.context, tokens), self.context)

    def keep(self, lanes: IntArray) -> None:
        """See ``ReferenceLanes.keep``."""
        self.context = self.context[lanes]

    def log_probs(self) -> FloatArray:
        """See ``ReferenceLanes.log_probs``."""
        return self._reference.rows(self.context)

    def log_prob(self, tokens: IntArray, active: BoolArray | None = None) -> FloatArray:
        """See ``ReferenceLanes.log_prob``."""
        return self._reference.log_prob(self.context, tokens)

    def draw(self, uniform: FloatArray) -> IntArray:
        """See ``ReferenceLanes.draw``."""
        return tokens_at(self.log_probs(), uniform)

    def hidden(self) -> NDArray[np.float32]:
        """A table has no hidden state."""
        raise TypeError(f"the reference {self._reference.name!r} is a table and has no hidden state")


def check_rows(table: FloatArray, tolerance: float = 1e-9) -> None:
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
