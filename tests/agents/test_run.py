"""What a training is besides its algorithm: checks, progress and the schedule."""

from __future__ import annotations

import importlib
import typing
from pathlib import Path

import pytest

import klrl_envs
from agents import ppo, q_learning, reference
from agents.arguments import Arguments
from agents.ppo import PPOArguments
from agents.q_learning import QArguments
from agents.run import FORGIVEN, Training, scheduled
from klrl_envs import RunRecord
from klrl_envs.results.rules import BUDGET_SLACK


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [scheduled(1.0, progress, 0.1) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2] > rates[3] > rates[4] == pytest.approx(0.05)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:NUMBER"):
        ppo.train(PPOArguments(device="tpu"))
    with pytest.raises(ValueError, match=r"a table of .* is too large for Dialogue-v0"):
        q_learning.train(QArguments(env_id="klrl/Dialogue-v0", tokens=10, out=str(tmp_path)))
    with pytest.raises(ValueError, match="q_learning needs an exact environment"):
        q_learning.train(QArguments(env_id="klrl/Sentiment-v0", tokens=10, out=str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("micro_batch", -3, 0),
        ("rank", -4, 1),
        ("alpha", 0, 1),
        ("checkpoint_seconds", -1.0, 0),
        ("checkpoint_seconds", float("nan"), 0),
        ("episodes", 0, 1),
        ("tokens", -1, 0),
    ],
)
def test_numbers_that_are_too_small_are_named_before_anything_is_written(
    name: str, value: typing.Any, least: int, tmp_path: Path
) -> None:
    arguments: dict[str, typing.Any] = {"tokens": 100, "episodes": 16, "out": str(tmp_path / "never")}
    with pytest.raises(ValueError, match=f"^{name} must be at least {least}, got {value}$"):
        ppo.train(PPOArguments(**(arguments | {name: value})))
    assert not (tmp_path / "never").exists()


def test_a_variant_has_a_name_of_its_own(tmp_path: Path) -> None:
    env_id = "klrl/DiagnosticModes-v0"
    reference.train(Arguments(env_id=env_id, episodes=16, out=str(tmp_path), name="reference-twice"))
    record = RunRecord.load(tmp_path / "result.json")
    assert (record.agent.name, record.agent.url) == ("reference-twice", "agents/reference.py")
    assert (
        record.command.startswith("python -m agents.reference ")
        and "--name reference-twice" in record.command
    )
    with pytest.raises(ValueError, match="name"):
        reference.train(Arguments(env_id=env_id, out=str(tmp_path / "never"), name="no name"))
    assert not (tmp_path / "never").exists()


def test_a_batch_that_the_environment_does_not_allow_is_not_begun(tmp_path: Path) -> None:
    """200,000 tokens and 1 % for the last batch are allowed; fewer that were asked for may be run over."""
    assert FORGIVEN == BUDGET_SLACK
    training = Training(Arguments(env_id="klrl/DiagnosticLength-v0", out=str(tmp_path)), "ppo")
    training.count(195_000)
    assert not training.left  # another of that size
    training.count(4_000)
    assert not training.left
    training.count(900)
    assert training.left
    state = training.state()
    training.restore({**state, "batch": 2_101}, at_risk=2_101)
    assert not training.left
    training.restore({**state, "batch": 2_100}, at_risk=2_100)
    assert training.left
    short = Training(Arguments(env_id="klrl/DiagnosticLength-v0", tokens=100, out=str(tmp_path)), "ppo")
    short.count(90)
    assert short.left
    short.count(90)
    assert not short.left


def saved(folder: Path, *more: str) -> None:
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors", "README.md", *more):
        (folder / name).write_text(name)


def test_only_a_folder_that_a_training_wrote_is_removed(tmp_path: Path) -> None:
    def train(out: str) -> None:
        reference.train(Arguments(env_id="klrl/DiagnosticModes-v0", episodes=16, out=str(tmp_path / out)))

    train("own")
    saved(tmp_path / "own" / "policy")
    train("own")
    assert not (tmp_path / "own" / "policy").exists(), "of the training before"
    saved(tmp_path / "own" / "policy", "notes.txt")
    saved(tmp_path / "other" / "policy")
    saved(tmp_path / "elsewhere")
    train("linked")
    (tmp_path / "linked" / "policy").symlink_to(tmp_path / "elsewhere")
    for out in ("own", "other", "linked"):
        before = {path: path.read_bytes() for path in (tmp_path / out).rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=r"out: .*policy is in the way, .*; remove it or give another"):
            train(out)
        assert {path: path.read_bytes() for path in before} == before
    # what is no model stays where none is saved there
    (tmp_path / "code" / "policy").mkdir(parents=True)
    (tmp_path / "code" / "policy" / "policy.py").write_text("")
    train("code")
    assert (tmp_path / "code" / "policy" / "policy.py").is_file()


@pytest.mark.parametrize(
    "agent", ["reinforce", "ppo", "q_learning", "sb3_ppo", "sb3_a2c", "sarsa", "bayesian_policy"]
)
def test_an_agent_counts_as_the_ledger_does(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"agents.{agent}")
    own: list[int] = []
    finish = Training.finish

    def watched(training: Training, *args: typing.Any, **kwargs: typing.Any) -> klrl_envs.Evaluation:
        own.append(training.tokens)
        return finish(training, *args, **kwargs)

    monkeypatch.setattr(Training, "finish", watched)
    kind = typing.get_type_hints(module.train)["args"]
    module.train(
        kind(tokens=3000, episodes=64, out=str(tmp_path), threads=1, env_id="klrl/GridNavigation-v0")
    )
    record = RunRecord.load(tmp_path / "result.json")
    assert (record.tokens, record.budget) == (own[0], "declared"), "no runner kept a ledger"
    assert own[0] >= 3000
