"""What policies write is what the environment saw."""

from __future__ import annotations

import numpy as np
import torch

import klrl_envs
from agents.networks.trajectories import make_engine
from tests.agents.tiny import SMALL_GRID, tilted_policy


def test_episodes_are_those_of_the_environment() -> None:
    task = klrl_envs.make_task("GridNavigation-v0", **SMALL_GRID)
    policy = tilted_policy(task)  # type: ignore[arg-type]
    engine = make_engine(task, 64, 0)
    trajectories = policy.write(engine, np.zeros(64, dtype=np.int64), torch.Generator().manual_seed(0))
    assert trajectories.steps == engine.time.sum()
    np.testing.assert_array_equal(trajectories.mask.sum(1).numpy(), engine.time)
    nats = (trajectories.log_probs - trajectories.log_ratios).sum(1).numpy()
    np.testing.assert_allclose(nats, engine.reference_nats, rtol=1e-5)
    log_probs, _ = policy.scores(trajectories, torch.arange(64))
    torch.testing.assert_close(log_probs * trajectories.mask, trajectories.log_probs, rtol=1e-4, atol=1e-5)
    paid = trajectories.paid(task.kl_coef)
    expected = trajectories.rewards.sum(1) / task.kl_coef - trajectories.log_ratios.sum(1)
    torch.testing.assert_close(paid.sum(1), expected)
