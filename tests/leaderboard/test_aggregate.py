"""Agents over all environments."""

import pytest

from leaderboard.aggregate import aggregate
from tests.leaderboard.entries import better
from tests.results.records import entry


def test_the_aggregate_is_of_all_environments():
    keywords = entry(env_id="klrl/Keywords-v0")
    rows = aggregate([entry(), keywords, better()]).rows
    assert [(row.agent, len(row.environments)) for row in rows] == [("toy", 2), ("better", 1)]
    assert rows[0].score == pytest.approx(0.5)  # six scores, the outer one left out at either end
    bounds = rows[0].score_interval
    assert bounds is not None and 0.45 < bounds[0] < 0.5 < bounds[1] < 0.55
