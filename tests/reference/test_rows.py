"""Rows of log-probabilities: one distribution in all that is done with them, and the one check of them."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.kl import kl_divergence
from klrl_envs.reference.rows import TokenRows
from tests.oracles import random_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [3, 64, 150])
def test_rows_are_one_distribution(dtype, size):
    rng = np.random.default_rng(0)
    exact, reference = random_rows(rng, 5, size), random_rows(rng, 5, size)
    exact[0, : size // 2] = -np.inf
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    rows = TokenRows((exact + 4e-4).astype(dtype), (5, size))  # not quite normalised: divided out everywhere
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    assert rows.kl(reference) == pytest.approx(kl_divergence(exact, reference), abs=tolerance)
    assert rows.log_prob(np.full(5, size - 1)) == pytest.approx(exact[:, -1], abs=tolerance)
    drawn = TokenRows(np.repeat(exact, 2000, axis=0).astype(dtype), (10_000, size)).sample(rng)
    counts = np.stack([np.bincount(part, minlength=size) for part in drawn.reshape(5, 2000)])
    assert np.abs(counts / 2000 - np.exp(exact)).max() < 0.05
    assert counts[0, : size // 2].sum() == 0


def test_kl_of_equal_rows_is_zero():
    rows = random_rows(np.random.default_rng(0), 6, 2048).astype(np.float32)
    assert np.abs(TokenRows(rows, rows.shape).kl(rows)).max() < 1e-6
    assert np.abs(TokenRows(rows.astype(np.float64), rows.shape).kl(rows)).max() < 1e-6


@pytest.mark.parametrize(
    "rows, message",
    [
        (np.zeros((2, 4)), "must return normalised log-probs .*row 0 has logsumexp 1.386"),
        (np.full((2, 4), np.nan), "returned NaN in row 0"),
        (np.full((2, 4), np.inf), "normalised"),
        (np.full((2, 4), -np.inf), "normalised"),
        (np.zeros((2, 3)), r"shape \(2, 4\), returned \(2, 3\)"),
        (np.zeros(4), r"shape \(2, 4\), returned \(4,\)"),
    ],
)
def test_bad_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        TokenRows(rows, (2, 4), "the policy")
