"""The commands of klrl, as a user types them."""

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from klrl_envs import REGISTRY, evaluate, optimum
from klrl_envs.cli.app import app
from klrl_envs.optima.certificate import Certificate

GRID = "GridNavigation-v0"
SMALL = ["--set", "size=4", "--horizon", "6"]
SMALL_ARGUMENTS = {"size": 4, "horizon": 6}


def klrl(*arguments, stdin=None):
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": "200"})


def succeeded(result):
    assert result.exit_code == 0, result.output
    return result.output


def test_help_teaches_with_an_example_each():
    overview = succeeded(klrl("--help"))
    for command in ("list", "show", "solve", "play", "evaluate", "report", "certify", "fetch"):
        assert command in overview
        assert f"klrl {command}" in succeeded(klrl(command, "--help")), command


def test_list_has_every_row():
    output = succeeded(klrl("list"))
    assert all(row.gym_id in output for row in REGISTRY)
    narrow = succeeded(CliRunner().invoke(app, ["list"], env={"COLUMNS": "80"}))
    assert all(row.gym_id in narrow for row in REGISTRY), "ids can be copied at any width"


def test_show_is_the_card():
    output = succeeded(klrl("show", GRID, *SMALL))
    for word in ("Action Space", "Version History", "Discrete(4)", "Texts of pi0", "Texts of pi*", "J*"):
        assert word in output, word
    best = optimum(f"klrl/{GRID}", **SMALL_ARGUMENTS)
    assert "E*[r]" in output and f"{best.value:.6g}" in output and f"{best.reference_value:.6g}" in output
    assert output == succeeded(klrl("show", GRID, *SMALL)), "texts are drawn from a seed"


def test_solve_states_optimum_and_frontier():
    output = succeeded(klrl("solve", GRID, "--kl-coef", "4", "--frontier", "2,4,8", *SMALL))
    best = optimum(f"klrl/{GRID}", kl_coef=4.0, **SMALL_ARGUMENTS)
    assert f"{best.value:.6g}" in output
    for point in best.frontier([2.0, 4.0, 8.0]):
        assert f"{point.expected_reward:.5g}" in output and f"{point.kl:.5g}" in output
    result = json.loads(succeeded(klrl("solve", GRID, "--json", *SMALL)))
    assert result["value"] == optimum(f"klrl/{GRID}", **SMALL_ARGUMENTS).value


def test_play_scores_a_text_from_standard_input():
    keys = ["forward", "1", "", "left left", "nonsense", "9", "back"]
    output = succeeded(klrl("play", GRID, "--choices", "4", *SMALL, stdin="\n".join(keys) + "\n" * 6))
    assert "'nonsense' is not among the 4 words" in output
    assert "score (0 the reference, 1 the optimum)" in output
    kl = next(line for line in output.splitlines() if "KL of always writing this" in line)
    nats = float(kl.split("│")[2])
    assert any(nats == pytest.approx(tokens * np.log(4), abs=1e-3) for tokens in range(1, 7))


def test_play_ends_with_its_input():
    assert "the input ended before the text did" in succeeded(klrl("play", GRID, stdin="1\n"))
    assert "has no end token" in succeeded(klrl("play", GRID, stdin="end\n"))


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


def refused(result, message):
    """One line, in exit code 2, and no traceback."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], result.stderr


def test_errors_are_one_line():
    refused(klrl("show", "Nothing-v0"), "unknown environment 'Nothing-v0'")
    refused(klrl("solve", GRID, "--kl-coef", "0"), "kl_coef must be")
    refused(klrl("solve", GRID, "--frontier", "1,two"), "'two'")
    refused(klrl("solve", GRID, "--set", "colour"), "NAME=VALUE")
    refused(klrl("solve", GRID, "--set", "colour=1"), "has no argument 'colour'")
    refused(klrl("play", GRID, "--prompt", "7"), "prompt must be in 0..0")
    refused(klrl("certify", GRID), "solved exactly")
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


def test_certify_writes_a_certificate_that_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    arguments = ("certify", "Sentiment-v0", "--samples", "16", "--horizon", "2")
    output = succeeded(klrl(*arguments))
    (path,) = (tmp_path / "certificates").glob("*.safetensors")
    assert str(path) in output
    best = optimum("Sentiment-v0", horizon=2)
    assert f"J(pi0) {best.reference_value:.5g}" in output and f"J* {best.value:.5g}" in output
    again = tmp_path / "own.safetensors"
    succeeded(klrl(*arguments, "--out", str(again)))
    assert again.read_bytes() == path.read_bytes()


def test_certify_takes_prompts_of_ones_own(tmp_path):
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


def test_the_score_of_a_played_episode_is_at_most_one(tmp_path):
    """The start of the grid is drawn: the optimum is that of the start that was played."""
    for seed in range(12):
        output = succeeded(klrl("play", GRID, *SMALL, "--seed", str(seed), stdin="forward\n" * 6))
        (line,) = [line for line in output.splitlines() if "score (0" in line]
        assert float(line.split("│")[2]) <= 1 + 1e-4
    output = succeeded(klrl("play", GRID, *SMALL, "--set", "slip=0.1", stdin="forward\n" * 6))
    assert "none: actions slip" in output


def test_a_policy_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_policy.py").write_text("WIDTH = 3\n")
    (tmp_path / "own_policy.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport numpy as np\n"
        "import neighbour_of_policy\n@dataclass\nclass Own:\n    width: int = neighbour_of_policy.WIDTH\n"
        "    def log_probs(self, observations):\n        return np.full((len(observations), 4), -np.log(4))\n"
    )
    place = f"{tmp_path / 'own_policy.py'}:Own"
    assert "score" in succeeded(klrl("evaluate", GRID, *SMALL, "--policy", place, "--episodes", "8"))


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
