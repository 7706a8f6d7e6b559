"""A percentile bootstrap of ours is that of ``rliable``: the board leaves it out knowing what it leaves out.

It serves here alone. ``rliable.json`` holds scores [runs, environments] of two agents and what rliable says
of them; it draws the runs of each environment anew, apart from the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from leaderboard.statistics import mean_over_environments

FIXTURE = json.loads((Path(__file__).parent / "rliable.json").read_text(encoding="utf-8"))
METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # [..., runs, environments] -> [...]
    "mean": lambda scores: scores.mean(axis=(-2, -1)),
    "median": lambda scores: np.median(scores.mean(axis=-2), axis=-1),
    "iqm": lambda scores: stats.trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1),
}


def percentile_bootstrap(
    scores: np.ndarray, metric: Callable[[np.ndarray], np.ndarray], resamples: int = 20_000
) -> tuple[float, tuple[float, float]]:
    """A metric of scores [runs, environments], and its 95 % percentile interval over runs."""

    def of_columns(*columns: np.ndarray, axis: int) -> np.ndarray:
        return metric(np.stack(columns, axis=-1))

    found = stats.bootstrap(
        tuple(scores.T), of_columns, n_resamples=resamples, method="percentile", vectorized=True,
        rng=np.random.default_rng(0), batch=2_000,
    )  # fmt: skip
    return float(metric(scores)), (found.confidence_interval.low, found.confidence_interval.high)


@pytest.mark.parametrize("agent", FIXTURE["scores"])
@pytest.mark.parametrize("metric", METRICS)
def test_ours_is_rliables(metric: str, agent: str) -> None:
    expected = FIXTURE["found"][metric][agent]
    point, interval = percentile_bootstrap(np.array(FIXTURE["scores"][agent]), METRICS[metric])
    assert point == pytest.approx(expected["point"], abs=1e-9)
    assert interval == pytest.approx(expected["interval"], abs=0.01)


def test_the_boards_interval_of_the_mean_is_wider() -> None:
    """Which is why it covers, where the bootstrap of five seeds does not (``test_coverage.py``)."""
    for agent, scores in FIXTURE["scores"].items():
        point, interval = mean_over_environments(list(np.array(scores).T), [0.0] * len(scores[0]))
        low, high = FIXTURE["found"]["mean"][agent]["interval"]
        assert point == pytest.approx(FIXTURE["found"]["mean"][agent]["point"])
        assert interval is not None and interval[0] < low < high < interval[1]
