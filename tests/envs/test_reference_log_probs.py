"""The log-probs of the reference that an environment reports."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.envs.ids import PLAIN_IDS, actions_for


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_reference_log_prob_is_that_of_the_row(env_id: str) -> None:
    env: Any = gym.make(env_id)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        row = env.unwrapped.reference_log_probs().copy()
        assert row.shape == (1, env.unwrapped.task.vocab_size)
        assert np.exp(row.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
        action = int(rng.integers(row.shape[1]))
        _, _, terminated, _, info = env.step(action)
        assert info["reference_log_prob"] == pytest.approx(row[0, action], abs=1e-6)
        if terminated:
            env.reset()


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_log_probs_at_the_end_are_those_of_the_steps(env_id: str) -> None:
    stepwise: Any = gym.make(env_id)
    whole: Any = gym.make(env_id, reference_log_prob="end")
    rng = np.random.default_rng(2)
    for episode in range(2):
        stepwise.reset(seed=episode)
        whole.reset(seed=episode)
        collected: list[float] = []
        terminated = False
        while not terminated:
            action = actions_for(stepwise.unwrapped.task, rng, 1)[0]
            *_, step_info = stepwise.step(action)
            _, _, terminated, _, info = whole.step(action)
            collected.append(step_info["reference_log_prob"])
            assert ("reference_log_prob" in info) == terminated
        expected = np.zeros(stepwise.unwrapped.task.horizon)
        expected[: len(collected)] = collected
        np.testing.assert_allclose(info["reference_log_prob"], expected, atol=1e-4)
