"""What the agents learn on tasks with a known answer, what they leave, and what a seed determines."""

from __future__ import annotations

import importlib
import json
import typing
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import ppo, q_learning, reinforce
from agents.arguments import Arguments
from agents.ppo import PPOArguments
from agents.q_learning import QArguments
from agents.reinforce import ReinforceArguments
from klrl_envs import RunRecord
from tests.agents.tiny import SMALL_GRID

pytestmark = pytest.mark.slow

SEEDED = (
    *("reinforce", "ppo", "sb3_ppo", "sb3_a2c", "q_learning", "sarsa", "bayesian_policy", "grpo"),
    *("trajectory_balance", "klq", "path_consistency", "dqn", "q_sharp", "dpg", "smc", "dpo"),
    "expert_iteration",
)
"""Agents that are trained twice here."""


@pytest.mark.parametrize(
    "agent, arguments, least",
    [
        (q_learning, QArguments(tokens=60_000), 0.9),
        (ppo, PPOArguments(tokens=60_000, batch=32, minibatch=32, learning_rate=1e-2), 0.8),
        (reinforce, ReinforceArguments(tokens=90_000, batch=32, group=32, learning_rate=1e-2), 0.8),
    ],
)
def test_learning_approaches_the_known_optimum(
    agent: Any, arguments: Arguments, least: float, tmp_path: Path
) -> None:
    arguments.env_kwargs = SMALL_GRID
    arguments.out, arguments.episodes, arguments.threads = str(tmp_path), 512, 1
    score = agent.train(arguments).score_estimate
    assert least <= score <= 1.0 + 1e-9
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["score"] == score
    assert arguments.tokens is not None and result["tokens"] >= arguments.tokens
    assert (tmp_path / "progress.jsonl").stat().st_size > 0


def test_keywords_are_learnt_a_little_in_little_time(tmp_path: Path) -> None:
    arguments = PPOArguments(
        env_id="klrl/Keywords-v0", tokens=10_000, out=str(tmp_path), episodes=128, threads=1
    )
    score = ppo.train(arguments).score_estimate
    assert score is not None and 0.05 < score < 1
    RunRecord.load(tmp_path / "result.json")
    texts = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert all(isinstance(line["text"], str) and "k1" in line for line in texts)


def test_words_are_learnt_by_a_table_in_little_time(tmp_path: Path) -> None:
    arguments = QArguments(env_id="klrl/Recall-v0", tokens=40_000, out=str(tmp_path), episodes=64, threads=1)
    score = q_learning.train(arguments).score_estimate
    assert score is not None and 0.8 < score < 1
    assert RunRecord.load(tmp_path / "result.json").tokens >= 40_000


@pytest.mark.parametrize("agent", SEEDED)
def test_a_seed_determines_the_result(agent: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"agents.{agent}")
    kind = typing.get_type_hints(module.train)["args"]
    results = []
    for name in ("a", "b", "c"):
        seed = 1 if name == "c" else 0
        out = str(tmp_path / name)
        module.train(kind(out=out, tokens=8_000, episodes=64, threads=1, seed=seed))
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
    numbers = [{k: r[k] for k in ("score", "objective", "expected_reward", "kl", "tokens")} for r in results]
    assert numbers[0] == numbers[1]
    assert numbers[0]["objective"] != numbers[2]["objective"]


@pytest.mark.parametrize("agent", ["reference", "posterior"])
def test_the_ends_of_the_scale(agent: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"agents.{agent}")
    module.train(Arguments(out=str(tmp_path), episodes=2048))
    result = RunRecord.load(tmp_path / "result.json")
    assert result.score is not None and result.score_interval is not None
    lower, upper = result.score_interval
    target = {"reference": 0.0, "posterior": 1.0}[agent]
    assert lower - 1e-9 <= target <= upper + 1e-9
    assert result.tokens == 0


@pytest.mark.gpu
def test_training_on_the_accelerator(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    settings = [
        ("GridNavigation-v0", "heads"),
        *(("Sentiment-v0", train) for train in ("heads", "all", "lora")),
    ]
    for env_id, train in settings:
        arguments = PPOArguments(
            env_id=f"klrl/{env_id}", train=train, tokens=20_000, out=str(tmp_path), episodes=64, device="cuda"
        )
        assert ppo.train(arguments).score_estimate is not None
