"""Stable-Baselines3's PPO on our features: what it leaves can be loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import klrl_envs

pytest.importorskip("stable_baselines3")

from agents.sb3_ppo import SB3Arguments, train


def test_sb3_weights_load_again(tmp_path: Path) -> None:
    train(SB3Arguments(tokens=7_000, out=str(tmp_path), episodes=64, threads=1))
    task = klrl_envs.evaluation_task("GridNavigation-v0")
    policy, features = klrl_envs.load_policy(tmp_path / "policy.safetensors", task)
    assert features
    result = klrl_envs.RunRecord.load(tmp_path / "result.json")
    assert result.evaluation is not None
    seed = result.evaluation.seed
    again = klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", episodes=64, seed=seed)
    assert again.objective.estimate == pytest.approx(result.objective, abs=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert any(line["k1"] != 0 for line in lines), "the episodes' own KL is recorded"
