"""`klrl compare`."""

from __future__ import annotations

import json

import pytest

from klrl_envs import evaluate, save_policy
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.networks.table import Table
from tests.cli.commands import GRID, SMALL, SMALL_ARGUMENTS, klrl, refused, succeeded
from tests.results.diagnostics import diagnostic, write


def test_two_policies_are_told_apart_exactly_where_the_task_is_exact():
    options = ["--env", "gridnavigation", "--episodes", "64", *SMALL]
    result = json.loads(succeeded(klrl("compare", "reference", "optimal", *options, "--json")))
    one, two = (
        evaluate(name, f"klrl/{GRID}", episodes=64, seed=0, **SMALL_ARGUMENTS)
        for name in ("reference", "optimal")
    )
    assert result["score"]["estimate"] == pytest.approx(1.0)
    assert result["kl"]["estimate"] == pytest.approx(two.kl.estimate - one.kl.estimate)
    assert [len(row) for row in result["texts"]] == [4, 4, 4]
    shown = succeeded(klrl("compare", "reference", "optimal", *options, "--texts", "1"))
    assert "second less first [95 %]" in shown and "pi*" in shown and "KL(pi || pi*)" in shown


def test_a_policy_file_and_its_folder_are_one(tmp_path):
    task = evaluation_task(f"klrl/{GRID}", SMALL_ARGUMENTS)
    assert task.exact is not None
    save_policy(Table(task.exact), tmp_path / "policy.safetensors")
    options = ["--env", GRID, "--episodes", "8", "--texts", "0", "--json", *SMALL]
    result = json.loads(
        succeeded(klrl("compare", str(tmp_path), str(tmp_path / "policy.safetensors"), *options))
    )
    assert result["objective"]["estimate"] == 0 and result["texts"] == []


def test_folders_of_runs_are_compared_over_their_seeds(tmp_path):
    def runs(name, *scores):
        found = (diagnostic("klrl/DiagnosticGold-v0", each, seed=seed) for seed, each in enumerate(scores))
        return write(tmp_path / name, *found)

    first, second = runs("first", 0.1, 0.2, 0.3), runs("second", 0.5, 0.6, 0.8)
    (row,) = json.loads(succeeded(klrl("compare", str(first), str(second), "--json")))
    difference = row["difference"]
    assert difference["estimate"] == pytest.approx(0.4333, abs=1e-4)
    assert 0 < difference["lower"] < difference["estimate"] < difference["upper"]
    shown = succeeded(klrl("compare", str(first), str(second)))
    assert "DiagnosticGold-v0" in shown and "0.433 [" in shown
    assert "none" in succeeded(klrl("compare", str(first), str(runs("one", 0.5))))
    other = write(tmp_path / "other", diagnostic("klrl/DiagnosticNoise-v0", 0.5, env_kwargs={"sigma": 0.5}))
    refused(klrl("compare", str(first), str(other)), "no environment in common")


def test_reports_are_json_too(tmp_path):
    folder = write(
        tmp_path, *(diagnostic("klrl/DiagnosticGold-v0", each, seed=n) for n, each in enumerate((0.1, 0.3)))
    )
    report = json.loads(succeeded(klrl("report", str(folder), "--json")))
    assert (tmp_path / "report" / "report.md").is_file() and str(tmp_path / "report" / "report.md") in report[
        "files"
    ]
    (agent,) = report["capabilities"]
    said = {each["env_id"]: each["sentence"] for each in report["capabilities"][agent]}
    assert said["klrl/DiagnosticNoise-v0"] == "Not run." and "comparison" in said["klrl/DiagnosticGold-v0"]
    assert report["scores"][0]["score"] == pytest.approx(0.2)
