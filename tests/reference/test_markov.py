"""Bigrams: the rows that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.reference.markov import MarkovReference


@pytest.mark.parametrize(
    ("row", "message"),
    [([0.5, 0.6], "sums to 1.1"), ([1.0, 0.0], "full support"), ([np.nan, 1.0], "full support")],
)
def test_rows_that_are_no_distribution_are_refused(row: list[float], message: str) -> None:
    with np.errstate(divide="ignore"):
        rows = np.log(np.array([row, [0.5, 0.5]]))
    with pytest.raises(ValueError, match=message):
        MarkovReference(np.log([0.5, 0.5]), rows)
