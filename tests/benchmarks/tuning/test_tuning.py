"""The search of settings: its data, and its page."""

from __future__ import annotations

import dataclasses
import shlex
import typing

import pytest

from agents.arguments import flag_of
from benchmarks.suites import SUITES
from benchmarks.tuning import page as pages
from benchmarks.tuning.page import Tried, load_tried, page, part_of
from benchmarks.tuning.searches import SEARCHES, SEED, Search
from klrl_envs.results.plan import EXACT_SEEDS, expand
from tests.agents.test_every_agent import module_of


def test_every_agent_that_learns_gets_the_same_search() -> None:
    assert SEED not in EXACT_SEEDS
    for search in SEARCHES.values():
        runs = expand(search.suite())
        assert len(runs) == 8 * 3 and {run.seed for run in runs} == {SEED}
        assert search.agent in {each.agent for each in SUITES["core"]}


@pytest.mark.parametrize("agent", sorted(SEARCHES))
def test_the_flags_are_the_agents(agent: str) -> None:
    kind = typing.get_type_hints(module_of(agent).train)["args"]
    known = {flag_of(item) for item in dataclasses.fields(kind)}
    words = [word for flags in SEARCHES[agent].settings for word in shlex.split(flags)]
    used = {word.replace("--no-", "--") for word in words if word.startswith("--")}
    assert used <= known


def test_a_search_has_eight_settings_and_begins_with_the_shipped_one() -> None:
    with pytest.raises(ValueError, match="must be 8 different ones"):
        Search("mine", ("",) * 8)
    with pytest.raises(ValueError, match="the first of no flag"):
        Search("mine", tuple(f"--batch {size}" for size in range(8)))


def test_the_page_names_the_best_and_the_cost() -> None:
    search = SEARCHES["ppo"]
    tried = [
        Tried(flags, env_id, 0.1 * number, 1.0, 200_000, 30.0)
        for number, flags in enumerate(search.settings)
        for env_id in search.environments
    ]
    part = part_of(search, tried)
    assert f"| **`{search.settings[-1]}`** | 0.700 | 0.700 | 0.700 | **0.700** |" in part
    assert "Cost: 4,800,000 tokens, 12 minutes of one core." in part
    assert "| as it ships | 0.000" in part
    missing = part_of(search, tried[:-1])
    assert f"**`{search.settings[-2]}`**" in missing, "an unfinished setting is not the best"
    assert "Not run yet." in page({"ppo": []})


def test_the_committed_page_is_of_the_records() -> None:
    committed = (pages.FOLDER / "README.md").read_text(encoding="utf-8")
    assert committed == page({name: load_tried(name) for name in SEARCHES})
