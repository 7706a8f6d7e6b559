"""RL's ways from pi0: the frontier, and on-policy gradients that leave it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import rl_razor

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture(scope="module")
def paths() -> dict[str, rl_razor.Way]:
    return {path.name: path for path in rl_razor.free_paths()}


def test_the_plain_gradient_spends_more_kl_than_the_frontier(paths: dict[str, rl_razor.Way]) -> None:
    for reward in rl_razor.REWARDS:
        least = paths[rl_razor.RL].kl_at(reward)
        assert least is not None
        for name, path in paths.items():
            kl = path.kl_at(reward)
            assert kl is None or kl > least - 1e-3, name  # between its points the frontier is a chord
        for name in (rl_razor.PLAIN, rl_razor.SHARED):
            kl = paths[name].kl_at(reward)
            assert kl is not None and kl > 1.3 * least


def test_a_plain_gradient_is_followed_to_its_end(paths: dict[str, rl_razor.Way]) -> None:
    for name in (rl_razor.PLAIN, rl_razor.SHARED):
        path = paths[name]
        assert len(path.kl) < rl_razor.STEPS and path.reward[-1] == pytest.approx(1, abs=1e-6)
        assert np.isfinite(path.kl).all() and (np.diff(path.reward) > 0).all()


def test_being_on_policy_alone_is_not_said_to_be_near(paths: dict[str, rl_razor.Way]) -> None:
    missed = {name: [[0.1], [0.1], [0.1]] for name in (rl_razor.WEIGHTED, rl_razor.BEST, rl_razor.PAIRS)}
    first, *_ = rl_razor.found(rl_razor.Measured(list(paths.values()), missed, 40))
    assert "The razor is not one of being on-policy" in first and "the target" not in first
