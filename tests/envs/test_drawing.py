"""Texts that are drawn from the reference: their rewards and log-probs are those of enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from klrl_envs.registry import make_task
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


def test_an_engines_randomness_is_put_back() -> None:
    """Starts, executed actions and noise go on as they would have."""
    task = make_task("DiagnosticNoise-v0")

    def played(engine: Engine, episodes: int) -> list[float]:
        rewards: list[float] = []
        for _ in range(episodes):
            engine.reset(np.arange(4))
            while not engine.done.all():
                rewards += engine.step(np.ones(4, dtype=np.int64), ~engine.done).reward.tolist()
        return rewards

    first, second = Engine(task, 4), Engine(task, 4)
    first.seed_lanes(np.random.default_rng(0))
    second.seed_lanes(np.random.default_rng(1))
    played(first, 5)
    state = first.randomness()
    expected = played(first, 40)
    assert len(set(expected)) > 40
    assert played(second, 45) != expected
    second.restore_randomness(state)
    assert played(second, 40) == expected
