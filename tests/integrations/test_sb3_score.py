"""Stable-Baselines3: the score of a model while it is trained, by whom it is not disturbed."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import klrl_envs
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv, ScoreCallback
from klrl_envs.policies import SB3Policy

GRID = "klrl/GridNavigationFeatures-v0"
RIGHT = {"gamma": 1.0, "ent_coef": 0.0, "normalize_advantage": False, "n_steps": 16, "batch_size": 32}


def trained(env: Any, watch: ScoreCallback | None, **settings: Any) -> Any:
    """A model after 128 tokens, and the global random states where it began."""
    model = PPO("MlpPolicy", env, seed=0, **RIGHT, **settings)
    model.learn(128, callback=CallbackList([KLCallback(), *([] if watch is None else [watch])]))
    return model


def test_the_training_is_what_it_would_be_without() -> None:
    alone = trained(SB3VecEnv(GRID, num_envs=4), None)
    drawn = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
    watched = trained(SB3VecEnv(GRID, num_envs=4), ScoreCallback(every=16, episodes=8))
    assert drawn == (random.random(), np.random.random(), torch.rand(1).item())  # noqa: NPY002
    one, other = alone.policy.state_dict(), watched.policy.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("native", [True, False])
def test_scores_are_written_and_logged(native: bool, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    if native:
        env: Any = SB3VecEnv(GRID, num_envs=4, kl_coef=2.0)
    else:
        env = DummyVecEnv([lambda: gym.make(GRID, kl_coef=2.0)] * 4)
    watch = ScoreCallback(every=60, episodes=32, out=out)
    model = trained(env, watch, tensorboard_log=str(tmp_path / "board"))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["steps"] for line in lines] == [0, 60, 120, 128]
    assert [line["tokens"] for line in lines] == [0, 60, 120, 128], "evaluations do not count as training"
    assert len({line["seed"] for line in lines}) == 4
    again = klrl_envs.evaluate(SB3Policy(model), GRID, episodes=32, seed=lines[-1]["seed"], kl_coef=2.0)
    assert again.score is not None and again.score.estimate == pytest.approx(lines[-1]["score"])
    assert watch.scores.latest is not None and watch.scores.latest.kl == again.kl

    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (events,) = (tmp_path / "board").rglob("events*")
    board = accumulator.EventAccumulator(str(events)).Reload()
    for name in ("score", "expected_reward", "kl"):
        shown = [(scalar.step, scalar.value) for scalar in board.Scalars(f"klrl/{name}")]
        assert shown == [(line["steps"], pytest.approx(line[name], rel=1e-5)) for line in lines]


def test_what_cannot_be_scored_is_refused() -> None:
    normalised = VecNormalize(SB3VecEnv(GRID, num_envs=2), norm_obs=True, norm_reward=False)
    with pytest.raises(ValueError, match="norm_obs=False"):
        PPO("MlpPolicy", normalised, **RIGHT).learn(32, callback=ScoreCallback())
    with pytest.raises(TypeError, match="get_distribution"):
        DQN("MlpPolicy", SB3VecEnv(GRID, num_envs=2), buffer_size=10).learn(4, callback=ScoreCallback())
    with pytest.raises(TypeError, match="environment of klrl_envs"):
        PPO("MlpPolicy", gym.make("CartPole-v1"), **RIGHT).learn(32, callback=ScoreCallback())
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        ScoreCallback(episodes=0)
