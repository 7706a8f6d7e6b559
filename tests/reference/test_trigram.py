"""The trigram as a Markov reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import draw


def test_a_trigram_knows_its_rows_its_arcs_and_its_transpose():
    for seed in range(20):
        reference = draw(seed, trigram=True).reference
        rng = np.random.default_rng(seed)
        contexts = np.arange(reference.contexts)
        rows = np.exp(reference.rows(contexts))
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
        assert np.log(rows.min()) >= reference.least - 1e-12
        every = np.broadcast_to(np.arange(reference.vocab_size), rows.shape)
        found = reference.log_prob(np.broadcast_to(contexts[:, None], rows.shape), every)
        np.testing.assert_allclose(np.exp(found), rows, rtol=1e-12)
        values = rng.normal(size=(len(reference.arc_tokens), 3))
        known = np.einsum("cv,cvq->cq", rows, values[reference.arcs(contexts)])
        np.testing.assert_allclose(reference.mean(values), known, atol=1e-12)
        mass = rng.random((reference.contexts, 3))
        assert np.sum(mass * known) == pytest.approx(np.sum(reference.push(mass) * values), abs=1e-10)
        tokens = rng.integers(reference.vocab_size, size=(4, 5))
        lengths = np.array([0, 2, 5, 3])
        whole = reference.sequence_log_probs(tokens, np.zeros(4, dtype=np.int64), lengths)
        lanes = reference.lanes(4, 5)
        lanes.reset(np.arange(4), tokens[:, :0], np.zeros(4, dtype=np.int64))
        for place in range(5):
            seen = lanes.log_prob(tokens[:, place])
            np.testing.assert_allclose(whole[:, place], np.where(place < lengths, seen, 0.0), atol=1e-12)
            lanes.step(tokens[:, place], place < lengths)
