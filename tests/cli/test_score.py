"""`klrl evaluate` and `klrl certify`."""

from __future__ import annotations

import json
import sys

import pytest

from klrl_envs import evaluate, evaluation_task, optimum, save_policy
from klrl_envs.networks.table import Table
from klrl_envs.optima.certificate import Certificate
from klrl_envs.optima.certify import sample_rewards
from tests.cli.commands import GRID, SMALL, SMALL_ARGUMENTS, klrl, refused, succeeded


def test_evaluate_takes_names_modules_and_files(tmp_path, monkeypatch):
    code = (
        "import numpy as np\n"
        "def rows(observations):\n    return np.full((len(observations), 4), -np.log(4))\n"
        "class Policy:\n    def log_probs(self, observations):\n        return rows(observations)\n"
        "number = 3\n"
    )
    (tmp_path / "my_agent_of_the_test.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    options = ["--episodes", "64", "--seed", "3", "--json", *SMALL]
    expected = evaluate("uniform", f"klrl/{GRID}", episodes=64, seed=3, **SMALL_ARGUMENTS)
    module = "my_agent_of_the_test"
    for policy in ("uniform", f"{module}:rows", f"{module}:Policy", f"{module}.py:rows"):
        result = json.loads(succeeded(klrl("evaluate", GRID, "--policy", policy, *options)))
        assert result["objective"]["estimate"] == pytest.approx(expected.objective.estimate)
        assert result["episodes"] == 64 and result["seed"] == 3
    table = succeeded(klrl("evaluate", GRID, "--policy", "optimal", "--episodes", "16", *SMALL))
    assert "score" in table and "regret" in table and "success" in table
    for policy, message in (
        (f"{module}:number", "int and no policy"),
        (f"{module}:nothing", "has no 'nothing'"),
        ("nothing", "module:object"),
        ("no_such_module:policy", "no_such_module"),
        ("missing.py:policy", "no file"),
    ):
        refused(klrl("evaluate", GRID, "--policy", policy), message)


def test_a_policy_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_policy.py").write_text("WIDTH = 3\n")
    (tmp_path / "own_policy.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport numpy as np\n"
        "import neighbour_of_policy\n@dataclass\nclass Own:\n    width: int = neighbour_of_policy.WIDTH\n"
        "    def log_probs(self, observations):\n        return np.full((len(observations), 4), -np.log(4))\n"
    )
    place = f"{tmp_path / 'own_policy.py'}:Own"
    assert "score" in succeeded(klrl("evaluate", GRID, *SMALL, "--policy", place, "--episodes", "8"))


def test_certify_writes_a_certificate_that_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    monkeypatch.setattr("klrl_envs.optima.certify.LANES", 16)  # no more than the samples: it is cheaper
    arguments = ("certify", "Sentiment-v0", "--samples", "16", "--horizon", "2")
    output = succeeded(klrl(*arguments))
    (path,) = (tmp_path / "certificates").glob("*.safetensors")
    assert str(path) in output
    best = optimum("Sentiment-v0", horizon=2)
    assert f"J(pi0) {best.reference_value:.5g}" in output and f"J* {best.value:.5g}" in output
    again = tmp_path / "own.safetensors"
    succeeded(klrl(*arguments, "--out", str(again)))
    assert again.read_bytes() == path.read_bytes()


def test_certify_takes_prompts_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr("klrl_envs.optima.certify.LANES", 8)
    prompts, out = tmp_path / "prompts.txt", tmp_path / "own.safetensors"
    prompts.write_text("This film was\n\nI saw it twice, and\n")
    arguments = (
        "certify",
        "Sentiment-v0",
        "--samples",
        "8",
        "--horizon",
        "2",
        "--prompts-file",
        str(prompts),
    )
    succeeded(klrl(*arguments, "--out", str(out)))
    assert Certificate.load(out).rewards.shape == (2, 8)
    refused(klrl(*arguments, "--first-prompts", "2", "--out", str(out)), "exclude each other")


def test_certify_takes_the_first_prompts_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("klrl_envs.optima.certify.LANES", 8)
    out = tmp_path / "first.safetensors"
    arguments = ("certify", "Sentiment-v0", "--samples", "8", "--horizon", "2", "--first-prompts")
    succeeded(klrl(*arguments, "3", "--out", str(out)))
    rewards = Certificate.load(out).rewards
    assert rewards.shape == (3, 8)
    task = evaluation_task("klrl/Sentiment-v0", {"horizon": 2})
    assert rewards[1].tolist() == pytest.approx(sample_rewards(task, 1, 8, seed=0).tolist())
    refused(klrl(*arguments, "3"), "--first-prompts needs --out")
    refused(
        klrl(*arguments, "65", "--out", str(tmp_path / "more")), "--first-prompts must be at most 64, got 65"
    )


def test_evaluate_takes_policies_from_files(tmp_path):
    task = evaluation_task(f"klrl/{GRID}", SMALL_ARGUMENTS)
    table = Table(task)
    table.values[:, 0] += 2.0
    path = tmp_path / "policy.safetensors"
    save_policy(table, path)
    options = ["--episodes", "64", "--seed", "3", "--json", *SMALL]
    expected = evaluate(table, f"klrl/{GRID}", episodes=64, seed=3, **SMALL_ARGUMENTS)
    result = json.loads(succeeded(klrl("evaluate", GRID, "--policy", str(path), *options)))
    assert result["objective"]["estimate"] == pytest.approx(expected.objective.estimate)
    assert result["kl"]["estimate"] > 0
    path.write_bytes(b"PK" * 100)
    refused(klrl("evaluate", GRID, "--policy", str(path), *SMALL), "is no safetensors file")
    refused(klrl("evaluate", GRID, "--policy", str(tmp_path / "none.onnx"), *SMALL), "No such file")


def test_evaluate_and_certify_take_a_device(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("klrl_envs.optima.certify.LANES", 16)
    evaluated = ("evaluate", GRID, *SMALL, "--policy", "uniform", "--episodes", "8")
    certified = ("certify", "Sentiment-v0", "--samples", "16", "--horizon", "2", "--out", str(tmp_path / "a"))
    assert "score" in succeeded(klrl(*evaluated, "--device", "cpu"))
    assert "J*" in succeeded(klrl(*certified, "--device", "cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for command in (evaluated, certified):
        refused(klrl(*command, "--device", "cuda"), "device is cuda, and torch sees 0 CUDA devices")
        refused(klrl(*command, "--device", "tpu"), "device must be auto, cpu, cuda")
        assert "--device" in succeeded(klrl(command[0], "--help"))


def test_the_device_is_where_pi0_lies(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("klrl_envs.tasks.row.device_named", lambda name: seen.append(name) or "cpu")
    klrl("evaluate", GRID, *SMALL, "--policy", "uniform", "--episodes", "8", "--device", "cuda:1")
    assert "cuda:1" in seen
