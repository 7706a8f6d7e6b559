"""Stable-Baselines3's A2C on our features: it learns, and what it leaves can be loaded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import klrl_envs
from tests.agents.tiny import SMALL_GRID

pytest.importorskip("stable_baselines3")

from agents.sb3_a2c import A2CArguments, train


@pytest.mark.slow
def test_it_learns_a_grid_and_its_weights_load_again(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"lanes": 32, "steps": 4, "learning_rate": 6e-3}
    args = A2CArguments(
        tokens=60_000, env_kwargs=SMALL_GRID, out=str(tmp_path), episodes=64, threads=1, **settings
    )
    score = train(args).score_estimate
    assert score is not None and 0.7 < score <= 1 + 1e-9
    task = klrl_envs.evaluation_task("GridNavigation-v0", SMALL_GRID)
    policy, features = klrl_envs.load_policy(tmp_path / "policy.safetensors", task)
    assert features
    again = klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", episodes=64, seed=3, **SMALL_GRID)
    result = klrl_envs.RunRecord.load(tmp_path / "result.json")
    assert again.objective.estimate == pytest.approx(result.objective, abs=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert any(line["k1"] != 0 for line in lines), "the episodes' own KL is recorded"
    noted = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert noted[-1]["objective"] > noted[0]["objective"]
