"""The time left."""

import time

import pytest

from klrl_envs.results.progress import Clock, duration
from tests.results.dummy import runs_of


def test_the_time_left_is_estimated():
    runs = runs_of("run", 3)
    clock = Clock(jobs=2)
    assert clock.left(runs, {}) is None
    clock.saw(runs[0], 100)
    assert clock.left(runs[1:], {}) == pytest.approx(100)
    assert clock.left(runs[2:], {runs[1]: time.monotonic() - 40}) == pytest.approx(80, abs=1)
    assert [duration(seconds) for seconds in (None, 12, 3700)] == ["unknown", "12 s", "1 h 02 min"]
