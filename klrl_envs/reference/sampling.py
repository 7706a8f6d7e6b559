"""Drawing tokens from rows of log-probabilities, in NumPy."""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.arrays import FloatArray, IntArray, LogProbs

GROUP = 64


def sample_rows(log_probs: LogProbs, rng: np.random.Generator) -> IntArray:
    """One token [N] from each row of log_probs [N, V] (nats, normalised)."""
    return tokens_at(log_probs, rng.random(len(log_probs)))


def tokens_at(log_probs: LogProbs, uniform: FloatArray) -> IntArray:
    """The token [N] of each row of log_probs [N, V] (nats, normalised) at uniform numbers [N] in [0, 1), by
    the inverse distribution function.

    In two levels: the cumulative sum of blocks of 64 probabilities picks a block, that within the
    block picks the token, which touches the vocabulary once where a full cumulative sum would do so
    three times. The draw is proportional to the rows, so rounding of their sums does not matter.
    """
    count, size = log_probs.shape
    probability = np.exp(log_probs)
    blocks = -(-size // GROUP)
    if size % GROUP:
        probability = np.pad(probability, ((0, 0), (0, blocks * GROUP - size)))
    grouped = probability.reshape(count, blocks, GROUP)
    row = np.arange(count, dtype=np.int64)
    cumulative = grouped.sum(axis=2, dtype=np.float64).cumsum(axis=1)
    drawn = uniform * cumulative[:, -1]
    block = (cumulative <= drawn[:, None]).sum(axis=1)
    before = np.where(block > 0, cumulative[row, block - 1], 0.0)
    within = grouped[row, block].cumsum(axis=1, dtype=np.float64)
    place = (within <= (drawn - before)[:, None]).sum(axis=1)
    return np.minimum(block * GROUP + np.minimum(place, GROUP - 1), size - 1)
