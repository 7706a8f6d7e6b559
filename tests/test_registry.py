"""The registry: what a row says, environments of one's own, and what importing the package loads."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

import klrl_envs
from klrl_envs import registry
from klrl_envs.registry import REGISTRY, find_row
from tests.envs.ids import PLAIN_IDS

SECTIONS = (
    "Description", "Action Space", "Observation Space", "Starting State", "Rewards", "Episode End",
    "Information", "Arguments", "Optimum", "References", "Version History",
)  # fmt: skip


def praise(*, kl_coef: float, horizon: int = 6, reference: str = "words") -> klrl_envs.AutomatonTask:
    """Write praise.

    ## Description
    A text with a word of praise in it.
    """
    model = klrl_envs.load_reference(reference)
    automaton = klrl_envs.automata.from_keywords(model.tokens(["great"]), model.vocab_size)
    return klrl_envs.AutomatonTask.of(model, automaton, kl_coef=kl_coef, horizon=horizon)


@pytest.fixture
def own() -> Any:
    """An environment of one's own, registered for the time of a test."""
    yield klrl_envs.register("test/Praise-v1", praise, kl_coef=0.2, token_budget=1000, summary="praise")
    registry._users.clear()
    for env_id in ("test/Praise-v1", "test/PraiseFeatures-v1"):
        del gym.registry[env_id]


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.id)
def test_the_page_of_an_environment_has_every_section(row: klrl_envs.Row) -> None:
    page = row.specification()
    found = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert [name for name in found if name in SECTIONS] == list(SECTIONS)
    assert ("What must hold" in found) == ("diagnostic" in row.tags)
    for name in set(row.arguments()) - {"prompts"}:
        assert f"``{name}``" in page, f"the page of {row.id} says nothing of {name}"


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.id)
def test_prompts_that_are_not_there_change_nothing(row: klrl_envs.Row) -> None:
    train, evaluation = (klrl_envs.make_task(row.id, prompts=split) for split in ("train", "evaluation"))
    assert (train.fingerprint == evaluation.fingerprint) == (train.prompt_length == 0)
    assert train.source is not None and ("prompts" in train.source.arguments) == (train.prompt_length > 0)


def test_an_environment_of_one_s_own_has_all_that_the_suite_has(own: klrl_envs.Row) -> None:
    assert find_row("test/PraiseFeatures-v1") is own
    assert own.specification().startswith("Write praise.")
    for env_id in (own.gym_id, own.gym_features_id):
        env: Any = gym.make(env_id, disable_env_checker=True)
        check_env(env.unwrapped, skip_render_check=True)
        assert gym.make(EnvSpec.from_json(env.spec.to_json())).observation_space == env.observation_space
        assert gym.make_vec(env_id, num_envs=2).reset(seed=0)[0].shape[0] == 2
    best = klrl_envs.optimum("test/Praise-v1")
    assert best.env_id == "test/Praise-v1" and best.exact
    assert klrl_envs.optimum("test/Praise-v1", horizon=3).value < best.value
    assert klrl_envs.evaluate_exactly("optimal", "test/PraiseFeatures-v1", horizon=2).score == pytest.approx(
        1
    )
    scored = klrl_envs.evaluate("reference", "test/Praise-v1", episodes=64)
    assert scored.score is not None and scored.kl.estimate == pytest.approx(0, abs=1e-9)


def test_its_tasks_pickle_without_the_registry(own: klrl_envs.Row) -> None:
    task = klrl_envs.make_task(own.gym_id, horizon=4)
    kept = pickle.dumps(task)
    registry._users.clear()
    again = pickle.loads(kept)
    assert again.fingerprint == task.fingerprint and again.id == "test/Praise-v1"


def test_registering_the_same_twice_is_once(own: klrl_envs.Row) -> None:
    same = klrl_envs.register("test/Praise-v1", praise, kl_coef=0.2, token_budget=1000, summary="praise")
    assert same == own and registry.all_rows()[-1] == own and len(registry.all_rows()) == len(REGISTRY) + 1


def test_an_id_may_name_the_module_that_registers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_with_praise.py").write_text(
        "import klrl_envs\nfrom tests.test_registry import praise\n"
        "klrl_envs.register('test/Praise-v2', praise, kl_coef=0.1, token_budget=10)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_row("module_with_praise:test/Praise-v2").kl_coef == 0.1
    assert gym.make("module_with_praise:test/Praise-v2").unwrapped.kl_coef == 0.1  # type: ignore[attr-defined]
    registry._users.clear()


def without_coefficient(*, horizon: int = 6) -> klrl_envs.AutomatonTask:
    return praise(kl_coef=0.1, horizon=horizon)


def no_task(*, kl_coef: float) -> Any:
    return kl_coef


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"id": "Praise-v0"}, ValueError, "id must be like"),
        ({"id": "klrl/Praise-v0"}, ValueError, "a namespace of your own"),
        ({"id": "test/Praise"}, ValueError, "id must be like"),
        ({"kl_coef": 0}, ValueError, "kl_coef must be a finite number above 0"),
        ({"token_budget": 0}, ValueError, "token_budget must be a whole number"),
        ({"tags": ("text",)}, ValueError, "tags must be several, with either 'exact' or 'neural'"),
        ({"task": without_coefficient}, TypeError, "as keywords, kl_coef among them"),
    ],
)
def test_what_cannot_be_registered_is_refused_by_name(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"id": "test/Bad-v0", "task": praise, "kl_coef": 0.1, "token_budget": 10}
    with pytest.raises(error, match=message):
        klrl_envs.register(**{**arguments, **change})
    assert "test/Bad-v0" not in gym.registry


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [({"task": no_task}, TypeError, "must return a Task"), ({"tags": ("neural",)}, ValueError, "is exact")],
)
def test_what_makes_no_task_of_its_kind_is_found_when_it_is_made(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"id": "test/Bad-v1", "task": praise, "kl_coef": 0.1, "token_budget": 10}
    row = klrl_envs.register(**{**arguments, **change})
    try:
        with pytest.raises(error, match=message):
            row.make()
    finally:
        registry._users.clear()
        for env_id in (row.gym_id, row.gym_features_id):
            del gym.registry[env_id]


def test_an_unknown_argument_is_refused_in_python_s_words_too() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'"):
        gym.make("klrl/GridNavigation-v0", frameskip=4)


def test_a_policy_may_be_a_plain_function(own: klrl_envs.Row) -> None:
    size = klrl_envs.make_task(own.gym_id).vocab_size

    def uniform(observations: np.ndarray) -> np.ndarray:
        return np.full((len(observations), size), -np.log(size))

    scored = klrl_envs.evaluate(uniform, own.gym_id, episodes=16, seed=1)
    assert scored.kl == klrl_envs.evaluate("uniform", own.gym_id, episodes=16, seed=1).kl


def test_an_unknown_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'klrl/Sentimental-v0'; did you mean klrl/Sentiment-v0"):
        klrl_envs.make_task("klrl/Sentimental-v0")
    with pytest.raises(ValueError, match="unknown environment 'klrl/Poem-v0'; known are klrl/Grid"):
        klrl_envs.make_task("klrl/Poem-v0")


@pytest.mark.slow
@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_module_prefix_registers_and_exact_tasks_import_no_torch(env_id: str) -> None:
    exact = "exact" in find_row(env_id).tags
    code = (
        "import sys, gymnasium as gym\n"
        f"env = gym.make('klrl_envs:{env_id}')\n"
        f"env.reset(seed=0)\nenv.step(1)\nassert ('torch' in sys.modules) == {not exact}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_import_loads_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, klrl_envs\nassert not {'torch', 'scipy', 'transformers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
