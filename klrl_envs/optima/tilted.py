"""The reference tilted by what a token is worth: pi0(a|c) exp(X / beta), its soft maximum and its means.

Products of pi0 by exp(X / beta), each column shifted by its maximum, are fast and lose what underflows; rows
in which that could matter are computed again by log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from klrl_envs.optima.problem import Problem
from klrl_envs.reference.arrays import FloatArray, IntArray

TRUSTED_TOTAL = 1e-250
"""Totals of pi0 exp(X/beta) below this go through log-sum-exp. exp(X/beta), shifted to a column maximum of 1,
and pi0 lose what is below exp(-708); at this limit that is less than exp(-130) of what is kept."""

LARGEST_EXPONENT = 500.0
"""Of a factor that float64 holds beside another that is as small."""

BLOCK = 1 << 22
"""Numbers in the largest temporary array of the slow paths."""


class Tilted:
    """pi0(a|c) exp(r(c, a) / beta) of a problem at one kl_coef: the reference, with the context reward in it.

    Args:
        problem: its reference and context reward.
        kl_coef: beta.
    """

    def __init__(self, problem: Problem, kl_coef: float) -> None:
        self.problem, self.kl_coef = problem, kl_coef
        self._shift = 0.0
        self._weights: FloatArray | None = None
        if problem.automaton.context_reward is not None:
            exponent = self.rows(np.arange(problem.reference.contexts))
            self._shift = exponent.max(axis=1, keepdims=True)
            self._weights = np.exp(exponent - self._shift)

    def rows(self, contexts: IntArray) -> FloatArray:
        """log pi0(a|c) + r(c, a) / beta, float64[N, V], of contexts [N]."""
        rows = self.problem.reference.rows(contexts)
        extra = self.problem.automaton.context_reward
        return rows if extra is None else rows + extra[contexts] / self.kl_coef

    def _mean(self, values: FloatArray) -> FloatArray:
        return self.problem.reference.mean(values) if self._weights is None else self._weights @ values

    def soft_maximum(self, to_go: FloatArray) -> FloatArray:
        """beta log sum_a pi0(a|c) exp((r(c, a) + to_go[a, q]) / beta), float64[C, Q] of float64[K, Q]."""
        top = to_go.max(axis=0)
        tilt = to_go - top
        tilt /= self.kl_coef
        # log1p and expm1 keep a large kl_coef from cancelling; the plain form is for wide columns
        narrow = (tilt.min(axis=0) > -1.0) & (self._weights is None)
        if narrow.all():
            return top + self.kl_coef * np.log1p(self._mean(np.expm1(tilt, out=tilt)))
        several = narrow.any()
        small = np.expm1(tilt[:, narrow]) if several else None
        np.exp(tilt, out=tilt)
        if several:
            tilt[:, narrow] = small
        total = self._mean(tilt)
        lost = underflown(total[:, ~narrow] if several else total)
        if several:
            total[:, narrow] = np.log1p(total[:, narrow])
        with np.errstate(divide="ignore"):
            if several:
                total[:, ~narrow] = np.log(total[:, ~narrow])
            else:
                np.log(total, out=total)
        total += self._shift
        total *= self.kl_coef
        total += top
        for contexts, weights, shift in self._exactly(lost, to_go):
            total[contexts] = self.kl_coef * (np.log(weights.sum(axis=1)) + shift)
        return total

    def mean(self, quantity: FloatArray, to_go: FloatArray) -> FloatArray:
        """Mean of r(c, a) + quantity float64[K, Q] under pi* for to_go float64[K, Q], float64[C, Q]."""
        tilt = np.exp((to_go - to_go.max(axis=0)) / self.kl_coef)
        total = self._mean(tilt)
        lost = underflown(total)
        above = self._mean(tilt * quantity)
        extra = self.problem.automaton.context_reward
        if extra is not None and self._weights is not None:
            above += (self._weights * extra) @ tilt
        with np.errstate(invalid="ignore", divide="ignore"):
            result = above / total
        for contexts, weights, _ in self._exactly(lost, to_go):
            values = quantity[self.problem.reference.arcs(contexts)]
            if extra is not None:
                values = values + extra[contexts][:, :, None]
            result[contexts] = (weights * values).sum(axis=1) / weights.sum(axis=1)
        return result

    def push(self, mass: FloatArray, to_go: FloatArray, values: FloatArray) -> FloatArray:
        """The mass that pi* puts on each arc, float64[K, Q].

        Args:
            mass: float64[C, Q].
            to_go: float64[K, Q].
            values: float64[C, Q], their soft maximum.
        """
        reference, top = self.problem.reference, to_go.max(axis=0)
        tilt = np.exp((to_go - top) / self.kl_coef)
        exponent = np.where(mass > 0, (top - values) / self.kl_coef + self._shift, 0.0)
        lost = np.flatnonzero((exponent > LARGEST_EXPONENT).any(axis=1))
        exponent[lost] = -np.inf
        scaled = mass * np.exp(exponent)
        joint = reference.push(scaled) if self._weights is None else np.transpose(self._weights) @ scaled
        joint *= tilt
        for context in lost.tolist():
            arcs = reference.arcs(np.array([context]))[0]
            rows = self.rows(np.array([context]))[0]
            weights = np.exp(rows[:, None] + (to_go[arcs] - values[context]) / self.kl_coef)
            joint[arcs] += weights * mass[context]
        return joint

    def _exactly(
        self, lost: IntArray, to_go: FloatArray
    ) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
        """Yield (contexts [k], weights [k, V, Q], shift [k, Q]): weights exp(shift) is the tilted pi0."""
        block = max(1, BLOCK // (self.problem.automaton.vocab_size * to_go.shape[1] + 1))
        for first in range(0, lost.size, block):
            contexts = lost[first : first + block]
            arcs = self.problem.reference.arcs(contexts)
            exponent = self.rows(contexts)[:, :, None] + to_go[arcs] / self.kl_coef
            shift = exponent.max(axis=1)
            yield contexts, np.exp(exponent - shift[:, None, :]), shift


def underflown(total: FloatArray) -> IntArray:
    """The rows of totals that underflow has touched."""
    if total.size and total.min() >= TRUSTED_TOTAL:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((total < TRUSTED_TOTAL).any(axis=1))
