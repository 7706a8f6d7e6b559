"""The commands of klrl: help, lists, errors and the hub."""

from __future__ import annotations

import sys

import pytest

import klrl_envs
from tests.cli.commands import GRID, klrl, refused, succeeded


def test_help_teaches_with_an_example_each():
    overview = succeeded(klrl("--help"))
    commands = "list show solve play evaluate compare benchmark check signal report certify fetch export"
    for command in commands.split():
        assert command in overview
        assert f"klrl {command}" in succeeded(klrl(command, "--help")), command


def test_version_and_short_help():
    assert succeeded(klrl("--version")).strip() == f"klrl {klrl_envs.__version__}"
    assert succeeded(klrl("-h")) == succeeded(klrl("--help"))
    assert "--horizon" in succeeded(klrl("solve", "-h"))


def test_errors_are_one_line():
    refused(klrl("show", "Nothing-v0"), "unknown environment 'Nothing-v0'")
    refused(klrl("show", "keyword"), "did you mean klrl/Keywords-v0?")
    refused(klrl("solve", GRID, "--kl-coef", "0"), "kl_coef must be")
    refused(klrl("solve", GRID, "--frontier", "1,two"), "'two'")
    refused(klrl("solve", GRID, "--set", "colour"), "NAME=VALUE")
    refused(klrl("solve", GRID, "--set", "colour=1"), "has no argument 'colour'")
    refused(klrl("play", GRID, "--prompt", "7"), "prompt must be in 0..0")
    refused(klrl("certify", GRID), "solved exactly")
    refused(klrl("list", "--tag", "poem"), "--tag must be one of")
    refused(klrl("compare", "reference", "uniform"), "--env is missing")
    refused(klrl("certify", "Sentiment-v0", "--prompts-file", __file__), "needs --out")
    refused(klrl("solve", GRID, "--set", "target=[1.5, 2]"), "two whole numbers")
    refused(klrl("solve", GRID, "--set", "horizon=2.5"), "horizon must be a whole number")
    refused(klrl("solve", "Sentiment-v0", "--horizon", "200"), "reads 127 tokens")


def test_usage_errors_are_typers_own():
    assert klrl("solve").exit_code == 2
    assert "Missing argument" in klrl("solve").stderr


def test_a_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("KLRL_TRACEBACK", "1")
    assert isinstance(klrl("show", "Nothing-v0").exception, ValueError)


def test_fetch_asks_the_hub(monkeypatch, tmp_path):
    hub = pytest.importorskip("klrl_envs.reference.hub")
    asked = []
    monkeypatch.setattr(hub, "fetch_reference", lambda hub_id: asked.append(hub_id) or tmp_path)
    assert str(tmp_path) in succeeded(klrl("fetch", "someone/model"))
    assert asked == ["someone/model"]


def test_importing_the_package_imports_no_command_line():
    import subprocess

    code = (
        "import sys, klrl_envs; print([m for m in ('torch', 'scipy', 'typer', 'rich') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
