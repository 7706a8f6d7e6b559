"""An environment that a user registered is trained on by its id, from the command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agents.run import FORGIVEN
from klrl_envs import RunRecord

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MODULE = '''
import numpy as np
import klrl_envs

def praise(*, kl_coef, horizon=4):
    """Write "yes" as often as you can."""
    model = klrl_envs.load_reference("uniform", words=("no", "yes", "perhaps"))
    automaton = klrl_envs.RewardAutomaton(np.zeros((1, 3), dtype=int), reward=np.array([[0.0, 1.0, 0.2]]))
    return klrl_envs.AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, reward_range=(0.0, horizon)
    )

klrl_envs.register("me/Praise-v0", praise, kl_coef=0.5, token_budget=4_000)
'''


@pytest.mark.parametrize(("agent", "least"), [("q_learning", 0.9), ("ppo", 0.05)])
def test_a_registered_id_is_trained_on(agent: str, least: float, tmp_path: Path) -> None:
    (tmp_path / "my_praise.py").write_text(MODULE)
    out = tmp_path / "run"
    command = shlex.split(f"-m agents.{agent} --env-id me/Praise-v0 --import my_praise --episodes 64")
    ran = subprocess.run(
        [sys.executable, *command, "--threads", "1", "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "me/Praise-v0: score" in ran.stdout
    result = RunRecord.load(out / "result.json")
    assert result.env_id == "me/Praise-v0"
    assert 4_000 - 64 * 4 < result.tokens <= 4_000 * FORGIVEN, "all but the last batch"
    assert result.score is not None and least < result.score <= 1 + 1e-9
    assert "--import my_praise" in json.loads((out / "result.json").read_text())["command"]
