"""Rows of log-probabilities over the next token: the one check of them, and all that is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import FloatArray, IntArray, LogProbs
from klrl_envs.reference.sampling import sample_rows

TOLERANCE = 1e-3
"""The largest |log sum_a pi(a|s)|, in nats, of rows that pass for normalised."""

UNDERFLOW = -80.0
"""Log-probs below may have no probability that float32 holds."""
UNSEEN = 1e-15
"""A probability below which a token is not drawn in any evaluation."""


class TokenRows:
    """Rows log pi(.|s) [K, V], checked; sampled, scored and compared as one and the same distribution.

    A row may miss one by ``TOLERANCE``; its sum is divided out everywhere alike.

    Args:
        rows: float[K, V] in nats, -inf where there is no probability. float32 stays float32: float64 would
            add no digit to the rows of a network.
        shape: (K, V).
        source: what made them, for errors.

    Raises:
        ValueError: another shape, NaN, or rows that do not sum to one.
    """

    def __init__(self, rows: ArrayLike, shape: tuple[int, int], source: str = "log_probs") -> None:
        array = shaped_array(rows, shape, source)
        kept = array.dtype in (np.dtype(np.float32), np.dtype(np.float64))
        # a copy of one's own: neither a subclass that answers otherwise nor what its owner writes later
        self.rows: LogProbs = np.array(array, dtype=array.dtype if kept else np.float64, subok=False)
        self.probabilities = np.exp(self.rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._log_total = np.log(self.probabilities.sum(axis=1, dtype=np.float64))
        wrong = ~(np.abs(self._log_total) <= TOLERANCE)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            if np.isnan(self.rows[row]).any():
                raise ValueError(f"{source} returned NaN in row {row}; allowed are log-probs, -inf included")
            raise ValueError(
                f"{source} must return normalised log-probs (|logsumexp| at most {TOLERANCE:g} nats): "
                f"row {row} has logsumexp {self._log_total[row]:.4g}, so that "
                f"a row sums to {np.exp(self._log_total[row]):.6g}; apply a log-softmax to logits"
            )

    def sample(self, rng: np.random.Generator) -> IntArray:
        """A token of each row, int64[K]."""
        return sample_rows(self.rows, rng)

    def log_prob(self, tokens: IntArray) -> FloatArray:
        """log pi(token|s) float64[K] in nats of tokens [K]."""
        return self.rows[np.arange(len(self.rows)), tokens].astype(np.float64) - self._log_total

    def normalised(self) -> LogProbs:
        """The rows [K, V], each divided by its sum."""
        return self.rows - self._log_total[:, None].astype(self.rows.dtype)

    def entropy(self) -> FloatArray:
        """Entropy of pi(.|s), float64[K] in nats."""
        product = np.where(self.probabilities > 0, self.rows, 0.0) * self.probabilities
        return self._log_total - product.sum(axis=1, dtype=np.float64) / np.exp(self._log_total)

    def kl(self, reference: LogProbs) -> FloatArray:
        """Exact KL(pi(.|s) || reference) float64[K] in nats; reference rows [K, V] are normalised."""
        difference = self.rows - reference
        if self.rows.min(initial=0.0) < UNDERFLOW:
            difference[self.probabilities == 0] = 0.0
        difference *= self.probabilities
        total = difference.sum(axis=1, dtype=np.float64)
        return total / np.exp(self._log_total) - self._log_total

    def spread(self, log_ratio: LogProbs) -> tuple[FloatArray, FloatArray]:
        """Variance and largest distance from the mean of a log-ratio [K, V] under the rows, float64[K] each.

        Tokens of a probability below ``UNSEEN`` are left out: none of them is ever drawn.
        """
        seen = (self.probabilities > UNSEEN) & np.isfinite(log_ratio)
        values = np.where(seen, log_ratio, 0.0)
        weighted = values * self.probabilities
        mean = weighted.sum(axis=1, dtype=np.float64)
        weighted *= values
        variance = np.maximum(weighted.sum(axis=1, dtype=np.float64) - mean * mean, 0.0)
        return variance, np.maximum(values.max(axis=1) - mean, mean - values.min(axis=1))


def as_array(values: Any) -> NDArray[Any]:
    """A NumPy array of array-likes, torch tensors on any device and with gradients among them."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values if values.dtype.itemsize >= 4 else values.float()
        values = values.numpy()
    return np.asarray(values)


def shaped_array(values: Any, shape: tuple[int, ...], source: str) -> NDArray[Any]:
    """``as_array``; ValueError, which names the source, where the shape is another."""
    array = as_array(values)
    if array.shape != shape:
        raise ValueError(f"{source} must return shape {shape}, returned {array.shape}")
    return array
