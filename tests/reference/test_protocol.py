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


@pytest.mark.parametrize("kind", ["nano_like", "hub", "bigram", "uniform"])
def test_lanes_that_share_a_prompt_are_kept_and_restart(kind: str, request: pytest.FixtureRequest) -> None:
    made = {"bigram": bigram, "uniform": lambda: UniformReference(40)}
    reference: Any = made[kind]() if kind in made else request.getfixturevalue(kind)
    rng = np.random.default_rng(2)
    longest = 16
    for length in (4, 1, 0, 6):
        count = 7
        lanes = reference.lanes(count, longest)
        texts = np.tile(rng.integers(0, 40, longest), (count, 1))
        lengths = np.full(count, length)
        lanes.reset(np.arange(count), texts[:, :length], lengths)
        for step in range(8):
            nexts = rng.integers(0, 40, count)
            texts[np.arange(count), lengths] = nexts
            whole = reference.sequence_log_probs(texts, np.zeros(count, dtype=np.int64), lengths + 1)
            np.testing.assert_allclose(lanes.log_prob(nexts), whole[np.arange(count), lengths], atol=2e-5)
            active = np.ones(count, dtype=np.bool_) if step < 2 else rng.random(count) < 0.7
            lanes.step(nexts, active)
            lengths = lengths + active
            if step in (3, 5):
                kept = rng.permutation(count)[: count - 2]
                lanes.keep(kept)
                texts, lengths, count = texts[kept], lengths[kept], len(kept)
            if step == 4:
                lanes.reset(np.array([1]), texts[:1, :3], np.array([3]))
                texts[1], lengths[1] = texts[0], 3


def test_lanes_go_from_a_shared_prompt_to_another(nano_like: Any) -> None:
    rng, count = np.random.default_rng(3), 5
    lanes = nano_like.lanes(count, 16)
    every, zeros = np.arange(count), np.zeros(count, dtype=np.int64)
    for shared in (True, True, False, True, False, False):
        texts = rng.integers(0, 40, (1 if shared else count, 16)).repeat(count if shared else 1, axis=0)
        lengths = np.full(count, 5) if shared else rng.integers(1, 9, count)
        lanes.reset(every, texts[:, :9], lengths)
        for _ in range(6):
            nexts = rng.integers(0, 40, count)
            texts[every, lengths] = nexts
            whole = nano_like.sequence_log_probs(texts, zeros, lengths + 1)
            np.testing.assert_allclose(lanes.log_prob(nexts), whole[every, lengths], atol=2e-5)
            lanes.step(nexts, np.ones(count, dtype=np.bool_))
            lengths = lengths + 1
