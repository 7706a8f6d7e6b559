"""Arguments: their help, their command line, and the command that a result records."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
import sys

import pytest

import klrl_envs
from agents.arguments import Arguments, command_of, field_docstrings, parse, settings_of
from agents.ppo import DEFAULTS, PPOArguments

AGENTS = ("reference", "posterior", "q_learning", "reinforce", "ppo", "sb3_ppo", "model_based", "demo")


def test_every_argument_is_documented() -> None:
    for agent in AGENTS:
        module = importlib.import_module(f"agents.{agent}")
        for name, kind in vars(module).items():
            if name.endswith("Arguments"):
                assert set(field_docstrings(kind)) >= {field for field in kind.__dataclass_fields__}, agent


def test_a_command_says_what_differs_from_the_defaults() -> None:
    args = PPOArguments(seed=3, out="runs/x", epochs=2, env_kwargs={"kl_coef": 4.0}, imports=["my.a", "b"])
    expected = (
        "python -m agents.ppo --env-id klrl/GridNavigation-v0 --env-kwargs '{\"kl_coef\": 4.0}' "
        "--import my.a --import b --seed 3 --out runs/x --epochs 2"
    )
    assert command_of(args, "ppo") == expected


def test_a_command_means_the_arguments_that_it_was_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    args = PPOArguments(
        env_id="me/Praise-v0",
        imports=["my.a", "b"],
        env_kwargs={"horizon": 3},
        learning_rate=2e-3,
        seed=1,
        train="lora",
        checkpoint_layers=True,
    )
    assert command_of(dataclasses.replace(args, resume=True), "ppo") == command_of(args, "ppo")
    monkeypatch.setattr(sys, "argv", shlex.split(command_of(args, "ppo"))[2:])
    assert parse(PPOArguments, None, DEFAULTS) == args


def test_the_help_shows_the_defaults_of_both_kinds_of_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["agents/ppo.py", "--help"])
    with pytest.raises(SystemExit):
        parse(PPOArguments, None, DEFAULTS)
    shown = " ".join(capsys.readouterr().out.split())
    assert "python -m agents.ppo" in shown
    assert "--learning-rate LEARNING_RATE Adam's learning rate at its peak (default: exact 0.003," in shown
    assert "--import" in shown and "may be repeated" in shown


KINDS = [("Keywords-v0", "heads", "exact"), ("Keywords-v0", "all", "exact")]
KINDS += [("Sentiment-v0", train, kind) for train, kind in [
    ("heads", "neural"), ("all", "neural-all"), ("lora", "neural-lora")
]]  # fmt: skip


@pytest.mark.parametrize(("env_id", "train", "kind"), KINDS)
def test_settings_follow_the_training_but_where_they_are_given(env_id: str, train: str, kind: str) -> None:
    task, args = klrl_envs.make_task(env_id), PPOArguments(train=train)
    assert settings_of(args, task, DEFAULTS) == DEFAULTS[kind]
    assert settings_of(dataclasses.replace(args, batch=7), task, DEFAULTS) == {**DEFAULTS[kind], "batch": 7}
    if env_id == "Sentiment-v0":
        with pytest.raises(ValueError, match="train must be one of heads, all, lora, got 'some'"):
            settings_of(PPOArguments(train="some"), task, DEFAULTS)


def test_arguments_do_not_share_what_can_be_changed() -> None:
    Arguments().imports.append("my.tasks")
    assert Arguments().imports == []
