"""Texts that are drawn from the reference: their rewards and log-probs are those of enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from tests.oracles import Instance, random_env, texts


def test_reference_draws_report_their_log_prob():
    task = random_env(tokens=4, horizon=3, kl_coef=0.4).unwrapped.task
    engine = Engine(task, 300)
    engine.seed_lanes(map(np.random.default_rng, range(300)))
    tokens, rewards, log_prob = draw_reference(
        engine, np.zeros(300, dtype=np.int64), np.random.default_rng(1)
    )
    known = {text: (log_prob, reward) for text, log_prob, reward in texts(Instance.of(task), 0)}
    for row, reward, value in zip(tokens.tolist(), rewards, log_prob):
        text = tuple(row[: row.index(0) + 1] if 0 in row else row)
        assert (value, reward) == pytest.approx(known[text])
