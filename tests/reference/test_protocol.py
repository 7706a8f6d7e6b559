"""Every kind of reference: cached steps and parallel passes give the same log-probs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from klrl_envs.reference.markov import MarkovReference, UniformReference


def bigram() -> MarkovReference:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(40), size=41)
    return MarkovReference(np.log(rows[40]), np.log(rows[:40]))


@pytest.mark.parametrize("kind", ["nano_like", "hub", "bigram", "uniform"])
def test_lanes_that_restart_at_different_times_agree_with_the_parallel_pass(
    kind: str, request: pytest.FixtureRequest
) -> None:
    made = {"bigram": bigram, "uniform": lambda: UniformReference(40)}
    reference: Any = made[kind]() if kind in made else request.getfixturevalue(kind)
    rng = np.random.default_rng(1)
    count, longest = 5, 16
    lanes = reference.lanes(count, longest)
    texts = rng.integers(0, 40, (count, longest))
    lengths = rng.integers(0, 6, count)
    lanes.reset(np.arange(count), texts[:, :6], lengths)
    for _ in range(40):
        first = np.zeros(count, dtype=np.int64)
        nexts = rng.integers(0, 40, count)
        grown = texts.copy()
        grown[np.arange(count), lengths] = nexts
        whole = reference.sequence_log_probs(grown, first, lengths + 1)
        taken = lanes.log_prob(nexts)
        np.testing.assert_allclose(taken, whole[np.arange(count), lengths], atol=2e-5)
        np.testing.assert_allclose(np.exp(lanes.log_probs().astype(np.float64)).sum(axis=1), 1, atol=1e-5)
        active = rng.random(count) < 0.7
        texts = np.where(active[:, None], grown, texts)
        lanes.step(nexts, active)
        lengths = lengths + active
        restart = np.flatnonzero((lengths >= longest - 1) | (rng.random(count) < 0.15))
        if len(restart):
            texts[restart] = rng.integers(0, 40, (len(restart), longest))
            lengths[restart] = rng.integers(0, 5, len(restart))
            lanes.reset(restart, texts[restart, :5], lengths[restart])
