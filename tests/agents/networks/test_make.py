"""Policies as they are made, and as they are left."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.make import make_network
from agents.networks.trajectories import make_engine
from agents.ppo import PPOArguments
from agents.reinforce import ReinforceArguments
from klrl_envs.evaluation.rollout import roll_out

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_a_policy_starts_at_the_reference() -> None:
    for env_id in ("GridNavigation-v0", "Keywords-v0", "Sentiment-v0"):
        task = klrl_envs.make_task(env_id)
        policy = make_network(task)
        engine = make_engine(task, 16, 0)
        trajectories = policy.write(engine, np.zeros(16, dtype=np.int64), torch.Generator().manual_seed(0))
        assert trajectories.log_ratios.abs().max() < 1e-5
        scored, features = policy.for_evaluation(task)
        assert roll_out(scored, task, episodes=16, seed=0, features=features).kl.max() < 1e-5  # type: ignore


@pytest.mark.parametrize("env_id", ["klrl/GridNavigation-v0", "klrl/Sentiment-v0"])
@pytest.mark.parametrize("critic", [True, False])
def test_weights_that_were_saved_are_the_policy(env_id: str, critic: bool, tmp_path: Path) -> None:
    module = importlib.import_module("agents.ppo" if critic else "agents.reinforce")
    kind = PPOArguments if critic else ReinforceArguments
    module.train(kind(env_id=env_id, tokens=2_000, out=str(tmp_path), episodes=64, threads=1))
    task = klrl_envs.make_task(env_id, prompts="evaluation")
    scored, features = klrl_envs.load_policy(tmp_path / "policy.safetensors", task)
    env_id = env_id.replace("-v0", "Features-v0") if features else env_id
    result = klrl_envs.RunRecord.load(tmp_path / "result.json")
    assert result.evaluation is not None
    again = klrl_envs.evaluate(scored, env_id, episodes=64, seed=result.evaluation.seed)
    assert again.objective.estimate == result.objective


def test_weights_do_not_depend_on_what_was_loaded_before() -> None:
    code = (
        "import torch; from agents.networks.make import make_network; from klrl_envs import make_task\n"
        "for _ in range(2):\n"
        "    torch.manual_seed(0); p = make_network(make_task('Sentiment-v0'))\n"
        "    print(p.evidence.embedding.weight.sum().item(), p.actor[0].weight.sum().item())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    cold, warm = ran.stdout.splitlines()
    assert cold == warm
