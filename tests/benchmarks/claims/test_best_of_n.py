"""Learners beside the frontier: what is said of them, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import best_of_n
from benchmarks.claims.frontier import Share
from benchmarks.studies.laws import OperatingPoint


def test_an_interval_is_students_over_seeds() -> None:
    values = [0.6, 0.7, 0.8]
    assert best_of_n.margin(values) == pytest.approx(4.3027 * np.std(values, ddof=1) / 3**0.5, rel=1e-4)
    assert best_of_n.margin([0.5]) is None


def test_a_share_is_told_to_be_of_the_gain_with_its_interval() -> None:
    share = Share(OperatingPoint(0.75, 1.0, 0.7), 1.0, 0.5)
    rows = [
        best_of_n.Trained("klrl/Sentiment-v0", agent, 0.4, share, 9.0, share, margin)
        for agent, margin in (("ppo", 0.034), ("ppo-lora", None))
    ]
    exact = best_of_n.Trained("klrl/Keywords-v0", "ppo", 0.9, share, 9.0, share, 0.001)
    best = best_of_n.Best("klrl/Sentiment-v0", 0.05, 9, 0.9, share, share, 2, False, False)
    first, *_ = best_of_n.found(best_of_n.Measured([best], [*rows, exact], []))
    told = " ".join(first.split())
    assert "50 % of the gain over pi0 that is to be had at its KL" in told
    assert "learners have on Sentiment-v0 50 % (best-of-n 50 %), give or take at most 3 points" in told
    assert "On 1 exact tasks the learner nearest to the frontier has 50 %" in told
    lines = best_of_n.trained_table(rows).splitlines()
    assert "| 50 % | 3.4 |" in lines[2] and "| 50 % |  |" in lines[3]


def test_floors_and_bounds_are_no_learners() -> None:
    agents = {entry.agent.name for entry in best_of_n.learners()}
    assert "ppo" in agents
    assert not agents & {"posterior", "reference", "uniform", "greedy", "best_of_n"}
