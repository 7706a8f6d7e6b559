"""Registering environments of one's own: what may be said again, what is refused, and what users are told."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs import registry
from klrl_envs.optima.optimum import NotCertified
from klrl_envs.results.plan import expand
from klrl_envs.results.suites import Experiment

MODULE = """
import klrl_envs, numpy as np

RUNS = []
RUNS.append(1)

def praise(*, kl_coef, horizon=4):
    words = klrl_envs.load_reference("words", kept=["good", "bad"], ends=True)
    automaton = klrl_envs.automata.from_count(words.tokens(["good"]), words.vocab_size, [0.0, 1.0, 5.0])
    return klrl_envs.AutomatonTask.of(words, automaton, kl_coef=kl_coef, horizon=horizon)

def uniform(observations):
    return np.full((len(observations), 3), -np.log(3))

klrl_envs.register("mine/Praise-v0", praise, kl_coef=0.2, token_budget=100, summary="praise")
"""


def task(*, kl_coef: float, horizon: int = 3) -> klrl_envs.AutomatonTask:
    words = klrl_envs.load_reference("words", kept=["good", "bad"], ends=True)
    automaton = klrl_envs.automata.from_keywords(words.tokens(["good"]), words.vocab_size)
    return klrl_envs.AutomatonTask.of(words, automaton, kl_coef=kl_coef, horizon=horizon)


def positional(kl_coef: float, horizon: int = 3, /) -> klrl_envs.AutomatonTask:
    return task(kl_coef=kl_coef, horizon=horizon)


def anything(*, kl_coef: float, **others: Any) -> klrl_envs.AutomatonTask:
    return task(kl_coef=kl_coef, **others)


@pytest.fixture(autouse=True)
def only_the_suite() -> Iterator[None]:
    """What a test registers is gone after it."""
    yield
    for row in registry.all_rows()[len(klrl_envs.REGISTRY) :]:
        for env_id in (row.gym_id, row.gym_features_id):
            gym.registry.pop(env_id, None)
    registry._users.clear()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's file that registers an environment."""
    path = tmp_path / "module_of_mine.py"
    path.write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "module_of_mine", raising=False)
    return path


def register(env_id: str, function: Any = task, **changes: Any) -> klrl_envs.Row:
    return klrl_envs.register(env_id, function, **{"kl_coef": 0.1, "token_budget": 10, **changes})


def test_a_file_is_run_once_by_whatever_name_it_is_imported(module: Path) -> None:
    first = klrl_envs.import_module(str(module))
    assert klrl_envs.import_module("module_of_mine.py") is first
    assert klrl_envs.import_module("module_of_mine") is first
    assert klrl_envs.find_row("module_of_mine.py:mine/Praise-v0").kl_coef == 0.2
    assert first.RUNS == [1]


def test_environment_and_policy_may_be_in_one_file(module: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "klrl_envs.cli", "evaluate", "mine/Praise-v0", "--import", "module_of_mine.py",
         "--policy", "module_of_mine.py:uniform", "--episodes", "8", "--json"],
        cwd=module.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert '"env_id": "mine/Praise-v0"' in ran.stdout


def test_a_file_does_not_take_the_place_of_another_module(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text("raise AssertionError('run')", encoding="utf-8")
    with pytest.raises(ImportError, match="has the name of another module, json"):
        klrl_envs.import_module(str(tmp_path / "json.py"))
    assert sys.modules["json"] is json and str(tmp_path) not in sys.path
    with pytest.raises(ImportError, match="there is no file"):
        klrl_envs.import_module(str(tmp_path / "nothing.py"))


def test_a_cell_may_be_run_again(module: Path) -> None:
    first = register("mine/Task-v0")
    again = register("mine/Task-v0", kl_coef=0.5)
    assert klrl_envs.find_row("mine/Task-v0") is again is not first
    assert gym.make("mine/Task-v0").unwrapped.kl_coef == 0.5  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"mine/Task-v0 is registered already, by tests\.test_register:task"):
        register("mine/Task-v0", anything_else := "other:function")
    assert anything_else


def test_an_id_does_not_take_the_features_id_of_another() -> None:
    register("mine/Task-v0")
    with pytest.raises(ValueError, match="mine/TaskFeatures-v0 is registered already"):
        register("mine/TaskFeatures-v0", "other:function")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (5, "must be a function or 'module:function', got 5"),
        ("mine", "must be a function or 'module:function', got 'mine'"),
        (":mine", "must be a function"),
        (positional, "as keywords, kl_coef among them; kl_coef is none"),
        (anything, "as keywords, kl_coef among them; others is none"),
        (lambda: None, "kl_coef among them"),
    ],
)
def test_what_is_no_function_of_keywords_is_refused_at_once(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        register("mine/Bad-v0", function)


def test_tags_are_several() -> None:
    with pytest.raises(ValueError, match=r"tags must be several, with either .*, got 'exact'"):
        register("mine/Bad-v0", tags="exact")


def test_what_a_task_says_of_its_reward_follows_from_the_automaton(module: Path) -> None:
    klrl_envs.import_module(str(module))
    assert klrl_envs.make_task("mine/Praise-v0").reward_range == (0.0, 5.0)
    assert registry.find_row("mine/Praise-v0").specification() == "praise"


def test_tags_and_all_mean_the_suite_and_ids_mean_users_environments_too() -> None:
    register("mine/Task-v0")
    everything = {run.env_id for run in expand([Experiment("a", "b", "all")])}
    assert everything == {row.gym_id for row in klrl_envs.REGISTRY if "diagnostic" not in row.tags}
    assert "mine/Task-v0" not in {run.env_id for run in expand([Experiment("a", "b", "exact")])}
    assert {run.env_id for run in expand([Experiment("a", "b", ("mine/Task-v0",))])} == {"mine/Task-v0"}


def short_text(*, kl_coef: float, horizon: int = 3, style: str = "plain words") -> klrl_envs.TextTask:
    model = klrl_envs.load_reference("nano")
    return klrl_envs.TextTask(
        reference=model.reference, vocabulary=model.vocabulary, end_token=model.end_token, horizon=horizon,
        kl_coef=kl_coef, reward_range=(0.0, 1.0), reward_fingerprint=style,
        score_texts=lambda tokens, lengths, texts: (np.array([float("e" in text) for text in texts]), {}),
    )  # fmt: skip


def test_the_command_that_certifies_can_be_run_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    register("mine/Short-v0", short_text, kl_coef=0.5, tags=("neural", "text"))
    with pytest.raises(NotCertified) as refused:
        klrl_envs.optimum("mine/Short-v0")
    words = shlex.split(str(refused.value).partition("make one with: ")[2])
    assert words == [
        "klrl", "certify", "mine/Short-v0", "--import", "tests.test_register", "--horizon", "3",
        "--set", "style=plain words",
    ]  # fmt: skip
    scored = klrl_envs.make_task("mine/Short-v0").text_rewards(["", ""], ["e", "x"])
    assert scored.tolist() == [1.0, 0.0]


def test_an_id_is_a_text() -> None:
    with pytest.raises(TypeError, match="an id is a text such as 'klrl/Keywords-v0', got None"):
        klrl_envs.find_row(None)  # type: ignore[arg-type]


def test_a_whole_number_of_numpy_is_a_horizon() -> None:
    best = klrl_envs.optimum("DiagnosticModes-v0", horizon=np.int64(5))
    assert best.value == klrl_envs.optimum("DiagnosticModes-v0", horizon=5).value
