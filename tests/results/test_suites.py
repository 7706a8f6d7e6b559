"""Suites from files."""

from pathlib import Path

import pytest

from klrl_envs.registry import REGISTRY, find_row, sweeps
from klrl_envs.results.plan import EXACT_SEEDS, expand, usual_seeds
from klrl_envs.results.suites import SUITES_OF_AN_AGENT, Experiment, load_suite

SUITES = {"core": (Experiment("a", "run a"),), "diagnostics": (), "smoke": ()}


def test_unknown_suites_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"core, diagnostics, smoke or an existing \.json file, not 'cores'"):
        load_suite("cores", SUITES)
    path = tmp_path / "suite.json"
    path.write_text('[{"agent": "a", "comand": "x"}]')
    with pytest.raises(ValueError, match=r"experiment 0 needs agent and command.*comand"):
        load_suite(str(path), SUITES)


def test_the_suites_of_an_agent_fit_the_registry():
    runs = {name: expand(suite("mine", "python mine.py")) for name, suite in SUITES_OF_AN_AGENT.items()}
    main = {row.gym_id for row in REGISTRY if "diagnostic" not in row.tags}
    assert {run.env_id for run in runs["core"]} == main
    for env_id in {run.env_id for run in runs["core"]}:
        own = [run for run in runs["core"] if run.env_id == env_id]
        assert tuple(run.seed for run in own) == usual_seeds(find_row(env_id))
        assert {run.tokens for run in own} == {find_row(env_id).token_budget}
    assert {run.env_id for run in runs["diagnostics"]} == set(sweeps())
    assert all("exact" in find_row(run.env_id).tags and run.tokens <= 20_000 for run in runs["quick"])
    assert {run.seed for run in runs["quick"]} < set(EXACT_SEEDS), "not final"
    assert all(run.agent == "mine" and not run.env_kwargs for run in runs["quick"])
