"""Performance profiles."""

import numpy as np
import pytest

from leaderboard.profiles import profile
from leaderboard.shares import mean_share_interval


def test_environments_weigh_alike_and_a_score_reaches_its_own_threshold():
    share, band = profile([[0.5] * 5, [0.2, 0.6, 0.8]], [0.0, 0.5, 0.7, 0.9])
    assert share == pytest.approx([1, (1 + 2 / 3) / 2, (1 / 3) / 2, 0])
    np.testing.assert_allclose(band[1], mean_share_interval([1, 2 / 3], [5, 3]))
    assert (band[:, 0] <= share).all() and (share <= band[:, 1]).all()
    assert (np.diff(share) <= 0).all() and (band >= 0).all() and (band <= 1).all()
