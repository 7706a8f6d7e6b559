"""What policies write is what the environment saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks import residual
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


def test_contexts_that_are_too_many_for_a_table_are_scored_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    task = klrl_envs.make_task("GridNavigation-v0", **SMALL_GRID)
    written = []
    for largest in (residual.LARGEST_TABLE, 0):
        monkeypatch.setattr(residual, "LARGEST_TABLE", largest)
        policy = tilted_policy(task)  # type: ignore[arg-type]
        start = np.zeros(16, dtype=np.int64)
        trajectories = policy.write(make_engine(task, 16, 0), start, torch.Generator().manual_seed(0))
        written.append((trajectories.actions, *policy.scores(trajectories, torch.arange(16))))
    for whole, gathered in zip(*written):
        torch.testing.assert_close(whole, gathered)


def test_the_scores_of_reference_probabilities_below_float32_are_finite() -> None:
    start = np.log([1 - 1e-60, 1e-60, 1e-60])
    bigram = klrl_envs.BigramReference(start, np.tile(start, (3, 1)))
    automaton = klrl_envs.RewardAutomaton(np.zeros((1, 3), dtype=np.int64), final_reward=np.zeros(1))
    env = klrl_envs.exact_task(bigram, automaton, horizon=4, kl_coef=1.0)
    policy = tilted_policy(env.unwrapped.task)  # type: ignore[attr-defined]
    with torch.no_grad():
        policy.actor[-1].bias += torch.tensor([0.0, 300.0, 0.0])  # type: ignore[operator]
    engine = make_engine(env.unwrapped.task, 8, 0)  # type: ignore[attr-defined]
    trajectories = policy.write(engine, np.zeros(8, dtype=np.int64), torch.Generator().manual_seed(0))
    assert (trajectories.actions == 1).all()
    log_probs, kl = policy.scores(trajectories, torch.arange(8))
    torch.testing.assert_close(kl, torch.full((8, 4), 60 * float(np.log(10))))
    torch.testing.assert_close(log_probs, torch.zeros(8, 4))
    torch.testing.assert_close(trajectories.kl, kl)
