"""From suites to runs."""

import json
import shlex
from pathlib import Path

import pytest

from klrl_envs.results.plan import choose, expand
from klrl_envs.results.suites import Experiment, load_suite
from klrl_envs.tasks.row import Row

REGISTRY = (
    Row("Toy-v0", "toys:toy", 1.0, 100, ("exact", "grid"), "a toy"),
    Row("Deep-v0", "toys:deep", 1.0, 200, ("neural", "text"), "another"),
)


def test_suites_are_expanded_from_the_registry():
    runs = expand([Experiment("a", "run a"), Experiment("b", "run b", "grid", (7,), 50)], REGISTRY)
    exact = [("a", "klrl/Toy-v0", seed, 100) for seed in range(5)]
    neural = [("a", "klrl/Deep-v0", seed, 200) for seed in range(3)]
    assert [(run.agent, run.env_id, run.seed, run.tokens) for run in runs] == [
        *exact,
        *neural,
        ("b", "klrl/Toy-v0", 7, 50),
    ]


def test_settings_are_checked_and_told_apart(tmp_path: Path):
    path = tmp_path / "suite.json"
    row = {"agent": "a", "command": "run a", "environments": "klrl/DiagnosticLength-v0", "seeds": [0]}
    rows = [{**row, "settings": {"kl_coef": 0.5, "horizon": tokens}} for tokens in (4, 8)]
    path.write_text(json.dumps(rows))
    runs = expand(load_suite(str(path), {}))
    assert [run.slug for run in runs] == ["horizon=4,kl_coef=0.5", "horizon=8,kl_coef=0.5"]
    assert shlex.split(runs[0].template)[4:6] == ["--env-kwargs", '{"horizon": 4, "kl_coef": 0.5}']
    assert str(runs[0]) == "a klrl/DiagnosticLength-v0 horizon=4,kl_coef=0.5 seed 0"
    path.write_text(json.dumps([rows[0], rows[0]]))
    with pytest.raises(ValueError, match="come twice"):
        expand(load_suite(str(path), {}))
    for settings, message in (
        ({"colour": 1}, "may be horizon, reference, kl_coef, not colour"),
        ({"prompts": "train"}, "not prompts"),
    ):
        path.write_text(json.dumps([{**row, "settings": settings}]))
        with pytest.raises(ValueError, match=message):
            expand(load_suite(str(path), {}))
    path.write_text(json.dumps([{**row, "settings": [4]}]))
    with pytest.raises(ValueError, match="experiment 0: settings must be an object"):
        load_suite(str(path), {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Experiment("a", "run", "klrl/None-v0")], "unknown"),
        ([Experiment("a", "run", "colour")], "tag"),
        ([Experiment("a", "run", "grid"), Experiment("a", "run", "all")], "twice"),
    ],
)
def test_wrong_suites_are_named(rows: list[Experiment], message: str):
    with pytest.raises(ValueError, match=message):
        expand(rows, REGISTRY)


def test_only_chooses():
    runs = expand([Experiment("a", "run a"), Experiment("b", "run b")], REGISTRY)
    assert {run.agent for run in choose(runs, ["agent=b"])} == {"b"}
    assert len(choose(runs, ["env=Toy-v0", "seed=0,1"])) == 4
    assert choose(runs, ["env=klrl/Toy-v0"]) == choose(runs, ["env=Toy-v0"])
    with pytest.raises(ValueError, match=r"leaves no run; agent is one of \['a', 'b'\]"):
        choose(runs, ["agent=c"])
    with pytest.raises(ValueError, match=r"no run has the agent c$"):
        choose(runs, ["agent=a,c"])
    with pytest.raises(ValueError, match="agent=NAME"):
        choose(runs, ["reward=1"])
