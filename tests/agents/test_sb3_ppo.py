"""Stable-Baselines3's PPO on our features: what it leaves can be loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

import klrl_envs

pytest.importorskip("stable_baselines3")

from agents.networks.sb3 import ResidualActorCriticPolicy, networks_of
from agents.sb3_ppo import SB3Arguments, train
from klrl_envs.integrations.sb3 import SB3VecEnv


def test_sb3_weights_load_again(tmp_path: Path) -> None:
    train(SB3Arguments(tokens=7_000, out=str(tmp_path), episodes=64, threads=1))
    env = SB3VecEnv("klrl/GridNavigationFeatures-v0", num_envs=1)
    policy = ResidualActorCriticPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3,
        networks=lambda: networks_of(klrl_envs.make_task("GridNavigation-v0")),
    )  # fmt: skip
    policy.load_state_dict(load_file(tmp_path / "policy.safetensors"))
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert any(line["k1"] != 0 for line in lines), "the episodes' own KL is recorded"
