"""A trigram whose unseen pairs fall back on a bigram: exact tasks with a longer memory, kept sparse.

    pi0(w | u, v) = (n(u, v, w) + kappa pi0(w | v)) / (n(u, v) + kappa)

for the pairs (u, v) that are known, and the bigram pi0(w | v) after all others (a Dirichlet prior whose mean
is the bigram: MacKay and Peto 1995). The contexts are the V tokens, the n known pairs, and the start. An
expectation over the next token costs one product of the bigram's matrix, shared by all pairs that end in the
same token, and one sum over what was counted.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.markov import MarkovModel, MarkovReference


class TrigramReference(MarkovModel):
    """A smoothed trigram.

    Args:
        bigram: what unseen pairs fall back on, and the law of the first token.
        triples: int64 [M, 3], distinct (u, v, w).
        counts: float64 [M], above 0, of each triple.
        kappa: weight of the bigram, in tokens, above 0.
        name: how the reference is called in cards and errors.
        fingerprint: SHA-256 of what the bigram, the counts and kappa come from, where that is known.

    Attributes:
        pairs: int64 [n, 2], the known pairs, ascending; pair i is context V + i, and arc V + i.

    Raises:
        ValueError: a wrong shape, a token out of range, a triple twice, or a number that is not above 0.
    """

    def __init__(
        self,
        bigram: MarkovReference,
        triples: NDArray[np.integer],
        counts: NDArray[np.number],
        kappa: float,
        *,
        name: str = "trigram",
        fingerprint: str | None = None,
    ) -> None:
        size = bigram.vocab_size
        triples, weights = np.asarray(triples, dtype=np.int64), np.asarray(counts, dtype=np.float64)
        if bigram.contexts != size + 1:
            raise ValueError(f"bigram must have a row for each token and the start, got {bigram.contexts}")
        if triples.ndim != 2 or triples.shape[1] != 3 or weights.shape != (len(triples),):
            raise ValueError(
                f"triples and counts must have shapes [M, 3] and [M], got {triples.shape}, {weights.shape}"
            )
        if triples.size and not (triples.min() >= 0 and triples.max() < size):
            raise ValueError(
                f"triples must hold tokens in 0..{size - 1}, got {triples.min()} to {triples.max()}"
            )
        if not (np.isfinite(kappa) and kappa > 0 and np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError("kappa and every count must be finite numbers above 0")
        order = np.lexsort(triples.T[::-1])
        triples, weights = triples[order], weights[order]
        codes = triples[:, 0] * size + triples[:, 1]
        if len(triples) and (np.diff(codes * size + triples[:, 2]) == 0).any():
            raise ValueError("triples must be distinct, one is there twice")
        self.bigram, self.kappa, self.name = bigram, float(kappa), name
        self._fingerprint = fingerprint
        self.vocab_size = size
        self._codes, first = np.unique(codes, return_index=True)
        self.pairs = np.stack((self._codes // size, self._codes % size), axis=1)
        self._first = np.append(first, len(triples))
        self._third = triples[:, 2]
        total = np.add.reduceat(weights, first) if len(weights) else np.zeros(0)
        self._backing = kappa / (total + kappa)
        self._share = weights / np.repeat(total + kappa, np.diff(self._first))
        known = len(self._codes)
        self.contexts = size + known + 1
        self.start_context = size + known
        self.arc_tokens = np.concatenate((np.arange(size), self.pairs[:, 1]))
        self.arc_contexts = np.arange(size + known)
        self.least = bigram.least + float(np.log(self._backing.min(initial=1.0)))

    def _digest(self) -> str:
        total = hashlib.sha256(f"{self.bigram.fingerprint} {self.kappa!r}".encode())
        for array in (self._codes, self._first, self._third, self._share.astype(np.float32)):
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def next_context(self, contexts: IntArray, tokens: IntArray) -> IntArray:
        """See ``MarkovModel``: the pair of the context's last token and the token, where it is known."""
        last = self._last[contexts]
        code = last * self.vocab_size + tokens
        place = np.minimum(np.searchsorted(self._codes, code), max(len(self._codes) - 1, 0))
        known = (last >= 0) & (self._codes[place] == code) if len(self._codes) else np.zeros(code.shape, bool)
        return np.where(known, self.vocab_size + place, tokens)

    @cached_property
    def _last(self) -> IntArray:
        """int64 [C], the last token of a context; at the start a number that makes no known pair."""
        return np.concatenate((np.arange(self.vocab_size), self.pairs[:, 1], [-1]))

    def arcs(self, contexts: IntArray) -> IntArray:
        """See ``MarkovModel``: an arc leads to the context of its own number."""
        return self.next_context(contexts[:, None], np.arange(self.vocab_size))

    def rows(self, contexts: IntArray) -> FloatArray:
        """See ``MarkovModel``."""
        rows = self.bigram.rows(self._of_bigram[contexts])
        for lane in np.flatnonzero(self._is_pair(contexts)).tolist():
            pair = contexts[lane] - self.vocab_size
            inside = slice(self._first[pair], self._first[pair + 1])
            row = rows[lane] + np.log(self._backing[pair])
            third = self._third[inside]
            row[third] = np.logaddexp(row[third], np.log(self._share[inside]))
            rows[lane] = row
        return rows

    def log_prob(self, contexts: IntArray, tokens: IntArray) -> FloatArray:
        """See ``MarkovModel``."""
        of_bigram = self.bigram.log_prob(self._of_bigram[contexts], tokens)
        if not len(self._third):
            return of_bigram
        pair = np.where(self._is_pair(contexts), contexts - self.vocab_size, 0)
        code = pair * self.vocab_size + tokens
        place = np.minimum(np.searchsorted(self._counted_codes, code), len(self._third) - 1)
        share = np.where(self._counted_codes[place] == code, self._share[place], 0.0)
        of_pair = np.log(self._backing[pair] * np.exp(of_bigram) + share)
        return np.where(self._is_pair(contexts), of_pair, of_bigram)

    def _is_pair(self, contexts: IntArray) -> BoolArray:
        return (contexts >= self.vocab_size) & (contexts < self.start_context)

    @cached_property
    def _of_bigram(self) -> IntArray:
        """int64 [C], the context of the bigram that a context falls back on."""
        return np.where(self._last < 0, self.bigram.start_context, self._last)

    @cached_property
    def _counted_codes(self) -> IntArray:
        """int64 [M], ascending: pair times V plus third token, of every triple that was counted."""
        return np.repeat(np.arange(len(self._codes)), np.diff(self._first)) * self.vocab_size + self._third

    def mean(self, values: FloatArray) -> FloatArray:
        """See ``MarkovModel``."""
        size = self.vocab_size
        unseen, seen, counted = self._operators
        of_bigram = unseen @ values[:size] + seen @ values[size:]
        of_pairs = self._backing[:, None] * of_bigram[self.pairs[:, 1]] + counted @ values
        at_start = self.bigram.probabilities[self.bigram.start_context] @ values[:size]
        return np.concatenate((of_bigram, of_pairs, at_start[None]))

    def push(self, mass: FloatArray) -> FloatArray:
        """See ``MarkovModel``."""
        size = self.vocab_size
        unseen, seen, counted = self._operators
        of_pairs = mass[size : self.start_context]
        of_bigram = mass[:size] + self._ends_in.T @ (self._backing[:, None] * of_pairs)
        result = counted.T @ of_pairs
        result[:size] += unseen.T @ of_bigram
        result[:size] += self.bigram.probabilities[self.bigram.start_context][:, None] * mass[-1]
        result[size:] += seen.T @ of_bigram
        return result

    @cached_property
    def _ends_in(self) -> Any:
        """Sparse [n, V]: 1 where a pair ends in a token."""
        from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

        known = len(self._codes)
        return sparse.csr_array(
            (np.ones(known), self.pairs[:, 1], np.arange(known + 1)), shape=(known, self.vocab_size)
        )

    @cached_property
    def _operators(self) -> tuple[FloatArray, Any, Any]:
        """The bigram over arcs to single tokens [V, V] and to known pairs [V, n] (sparse), and what was
        counted [n, V + n] (sparse)."""
        from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

        size, known = self.vocab_size, len(self._codes)
        unseen = self.bigram.probabilities[:size].copy()
        first, second = self.pairs.T
        # pairs ascend, so that they are the rows of a compressed matrix already
        starts = np.searchsorted(first, np.arange(size + 1))
        seen = sparse.csr_array((unseen[first, second], np.arange(known), starts), shape=(size, known))
        unseen[first, second] = 0.0
        pair = np.repeat(np.arange(known), np.diff(self._first))
        arcs = self.next_context(size + pair, self._third)
        counted = sparse.csr_array((self._share, (pair, arcs)), shape=(known, size + known))
        return unseen, seen, counted
