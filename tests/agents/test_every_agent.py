"""What every agent keeps: it is found by its file, explains its arguments, and leaves a valid record."""

from __future__ import annotations

import importlib
import typing
from pathlib import Path
from types import ModuleType

import pytest

from agents.arguments import field_docstrings
from benchmarks.suites import SUITES
from klrl_envs import RunRecord
from tests.agents.tiny import MODEL_BASED

FOLDER = Path(__file__).resolve().parents[2] / "agents"
NEURAL = {"model_based": "klrl/Sentiment-v0"}
"""Agents that play no exact environment, and what they play here."""
SHARED = {"__init__", "arguments", "checkpoints", "exploration", "run", "demo", "minimal"}
AGENTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)


def module_of(agent: str) -> ModuleType:
    return importlib.import_module(f"agents.{agent}")


@pytest.mark.parametrize("agent", AGENTS)
def test_it_says_what_it_is_and_documents_its_arguments(agent: str) -> None:
    module = module_of(agent)
    assert module.__doc__
    kind = typing.get_type_hints(module.train)["args"]
    assert set(field_docstrings(kind)) >= set(kind.__dataclass_fields__)


@pytest.mark.parametrize("agent", AGENTS)
def test_it_stands_in_the_list_of_agents(agent: str) -> None:
    assert f"`{agent}`" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("agent", AGENTS)
def test_it_stands_in_a_suite(agent: str) -> None:
    commands = {(each.agent, each.command.split()[:3][-1]) for each in SUITES["core"]}
    assert (agent, f"agents.{agent}") in commands


@pytest.mark.parametrize("agent", AGENTS)
def test_it_leaves_a_valid_record(agent: str, tmp_path: Path) -> None:
    module = module_of(agent)
    kind = typing.get_type_hints(module.train)["args"]
    env_id = NEURAL.get(agent, "klrl/DiagnosticGold-v0")
    small = MODEL_BASED if agent == "model_based" else {}
    args = kind(env_id=env_id, tokens=512, episodes=256, out=str(tmp_path), threads=1, **small)
    evaluation = module.train(args)
    record = RunRecord.load(tmp_path / "result.json")
    assert record.agent.name == agent and record.env_id == evaluation.env_id
    assert record.score == evaluation.score_estimate
    assert record.command.startswith(f"python -m agents.{agent} --env-id {env_id}")
