"""The board is not built from an entry that contradicts itself, its task or the rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klrl_envs.results.entry import entry_path
from klrl_envs.results.frontier import limits_of
from leaderboard.build import build
from tests.results.guarded import GRID, KEYWORDS, OLDER, SENTIMENT, fresh

pytestmark = pytest.mark.slow

ENTRIES: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"older {data['env_id']}": lambda data=data: data for data in OLDER[:3]},
    **{f"fresh {env_id}": lambda env_id=env_id: fresh(env_id) for env_id in (GRID, KEYWORDS, SENTIMENT)},
}


def boast(entry: dict[str, Any]) -> str:
    """Nearly the optimum, with the regret of somebody else."""
    entry["seeds"][0].update(score=0.99, score_interval=[0.98, 1.0], regret=0.167)
    entry["score"] = sum(seed["score"] for seed in entry["seeds"]) / len(entry["seeds"])
    entry["score_interval"] = [entry["score"] - 0.1, entry["score"] + 0.1]
    return "seed 0: score must be 1 - regret / (J* - J0) = 1 - 0.167"


def far_above(entry: dict[str, Any]) -> str:
    """A reward near its highest, for the same KL."""
    seed, (low, high) = entry["seeds"][0], limits_of(entry["env_id"]).reward_range
    seed["expected_reward"] = low + 2 * (high - low)
    return f"objective {seed['objective']} is far from expected_reward - kl_coef kl"


def other_seeds(entry: dict[str, Any]) -> str:
    """The best three of a hundred."""
    del entry["seeds"][3:]
    while len(entry["seeds"]) < 3:
        entry["seeds"].append(copy.deepcopy(entry["seeds"][0]))
    for seed, number in zip(entry["seeds"], (17, 23, 99), strict=True):
        seed["seed"] = number
    entry["score"] = sum(seed["score"] for seed in entry["seeds"]) / len(entry["seeds"])
    entry["score_interval"] = [entry["score"] - 0.1, entry["score"] + 0.1]
    return "seed 17: seeds of klrl/"


def no_tokens(entry: dict[str, Any]) -> str:
    """Learnt from nothing."""
    entry["seeds"][0]["tokens"] = 0
    return "seed 0: tokens must be above 0 of a learner, not 0"


def halved_regret(entry: dict[str, Any]) -> str:
    """Half of what was lost."""
    entry["seeds"][0]["regret"] /= 2
    return f"= 1 - {entry['seeds'][0]['regret']} / "


def negative_kl(entry: dict[str, Any]) -> str:
    """Nearer than the reference itself; the reward is lowered so that the objective stays."""
    seed = entry["seeds"][0]
    seed["expected_reward"] -= 2 * entry["kl_coef"] * seed["kl"]
    seed["kl"] *= -1
    return f"seed 0: kl must be at least 0 beyond its error, not {seed['kl']} nats"


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("forge", [boast, far_above, other_seeds, no_tokens, halved_regret, negative_kl])
def test_forged_entries_are_refused_by_their_numbers(
    tmp_path: Path, name: str, forge: Callable[[dict[str, Any]], str]
):
    entry = copy.deepcopy(ENTRIES[name]())
    told = forge(entry)
    path = entry_path(entry["env_id"], entry["agent"]["name"], tmp_path / "entries")
    path.parent.mkdir()
    path.write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        build(tmp_path, tmp_path / "README.md")
    assert told in str(caught.value) and path.name in str(caught.value)
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith(".")] == ["entries"]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_point_above_the_frontier_is_refused_though_its_objective_fits(tmp_path: Path, share: float):
    entry = fresh(GRID)
    seed = entry["seeds"][2]
    seed["expected_reward"] -= (1 - share) * entry["kl_coef"] * seed["kl"]
    seed["kl"] *= share
    path = entry_path(entry["env_id"], entry["agent"]["name"], tmp_path / "entries")
    path.parent.mkdir()
    path.write_text(json.dumps(entry), encoding="utf-8")
    with pytest.raises(
        ValueError, match=rf"seed 2: expected_reward .* at kl {seed['kl']} nats is above the front"
    ):
        build(tmp_path, tmp_path / "README.md")


@pytest.mark.parametrize("name", ENTRIES)
def test_untouched_entries_build(tmp_path: Path, name: str):
    entry = ENTRIES[name]()
    path = entry_path(entry["env_id"], entry["agent"]["name"], tmp_path / "entries")
    path.parent.mkdir()
    path.write_text(json.dumps(entry), encoding="utf-8")
    build(tmp_path, tmp_path / "README.md")
    assert entry["agent"]["name"] in (tmp_path / "TABLE.md").read_text(encoding="utf-8")


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path):
    folder = tmp_path / "entries"
    folder.mkdir()
    for data in OLDER[:3]:
        entry = copy.deepcopy(data)
        entry["seeds"][0]["tokens"] = 0
        entry["seeds"][1]["regret"] /= 2
        path = entry_path(entry["env_id"], entry["agent"]["name"], folder)
        path.write_text(json.dumps(entry), encoding="utf-8")
    (folder / "Toy-v0--toy.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        build(tmp_path, tmp_path / "README.md")
    lines = str(caught.value).splitlines()
    assert sum("seed 0: tokens" in line for line in lines) == 3
    assert sum("seed 1: score must be" in line for line in lines) == 3
    assert sum("Toy-v0--toy.json: Invalid JSON" in line for line in lines) == 1
