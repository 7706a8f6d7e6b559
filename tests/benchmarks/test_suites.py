"""Our suites fit the registry and the agents."""

from pathlib import Path

import pytest

from benchmarks.asked import asked
from benchmarks.suites import SUITES
from klrl_envs.registry import REGISTRY, make_task, sweeps
from klrl_envs.results.plan import expand
from klrl_envs.results.suites import core
from leaderboard.folder import FOLDER
from leaderboard.matrix import load_asked

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_fits_the_registry(name: str):
    assert expand(SUITES[name])


def test_the_core_suite_starts_agents_that_are_there():
    for row in SUITES["core"]:
        module = row.command.split()[2]
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists(), module


def test_the_diagnostics_suite_sweeps_every_diagnostic():
    assert set(sweeps()) == {row.gym_id for row in REGISTRY if "diagnostic" in row.tags}
    runs = expand(SUITES["diagnostics"])
    learners = "q_learning sarsa bayesian_policy reinforce ppo sb3_ppo sb3_a2c grpo trajectory_balance"
    assert {run.agent for run in runs} >= {"reference", *learners.split()}
    for env_id, settings in sweeps().items():
        for arguments in settings:
            make_task(env_id, **arguments)
        own = [run for run in runs if run.agent == "ppo" and run.env_id == env_id]
        assert [run.env_kwargs for run in own if run.seed == 0] == list(settings)
        assert len({run.slug for run in own}) == len(settings)


def test_the_neural_suite_is_what_the_core_runs_on_neural_environments():
    neural = {row.gym_id for row in REGISTRY if "neural" in row.tags}
    core = {run for run in expand(SUITES["core"]) if run.env_id in neural}
    assert (
        set(expand(SUITES["neural"])) >= core and {run.env_id for run in expand(SUITES["neural"])} == neural
    )


def test_the_core_is_the_tasks_and_no_diagnostic():
    main = {row.gym_id for row in REGISTRY if "diagnostic" not in row.tags}
    runs = expand(SUITES["core"])
    assert {run.env_id for run in runs} == main
    assert {run.env_id for run in runs if run.agent == "posterior"} == main
    assert {run.env_id for run in expand(core("mine", "run mine"))} == main


def test_what_the_board_is_to_show_is_what_the_core_asks_for():
    committed = load_asked(FOLDER)
    assert committed == asked()
    assert {(agent, place) for agent, places in committed.agents.items() for place in places} == {
        (run.agent, run.env_id) for run in expand(SUITES["core"])
    }


def test_the_quick_suite_is_quick():
    runs = expand(SUITES["quick"])
    assert len({run.agent for run in runs}) == 5 and len(runs) == 15
    assert sum(run.tokens for run in runs) <= 300_000
