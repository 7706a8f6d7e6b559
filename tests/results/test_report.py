"""`klrl report`: from result.json files to numbers, sentences, a page and a figure."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from klrl_envs.tasks.diagnostics.sweeps import SWEEPS
from typer.testing import CliRunner

from klrl_envs import REGISTRY, evaluate_exactly, optimum
from klrl_envs.cli.app import app
from klrl_envs.results.capabilities import (
    CAPABILITIES,
    Finding,
    assess,
)
from klrl_envs.results.points import RunResult, key, outside, read_runs
from klrl_envs.results.report import page

LENGTH, GOLD, MODES = (f"klrl/Diagnostic{name}-v0" for name in ("Length", "Gold", "Modes"))
BY_ID = {capability.env_id: index for index, capability in enumerate(CAPABILITIES)}


def record(
    env_id: str, score: float | None, agent: str = "toy", seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """What is read of a result.json, and a field that is not."""
    return {
        "agent": {"name": agent, "url": "https://example.org", "license": "MIT"},
        "env_id": env_id,
        "env_kwargs": {},
        "kl_coef": 0.1,
        "seed": seed,
        "score": score,
        "kl": 1.25,
        "regret": 0.05,
        "tokens": 20_000,
        "seconds": 3.0,
        **changes,
    }


def result(env_id: str, score: float | None, **changes: Any) -> RunResult:
    return RunResult.model_validate(record(env_id, score, **changes))


def lengths(*scores: float, **changes: Any) -> list[RunResult]:
    """Scores along the sweep of the horizon."""
    return [
        result(LENGTH, score, env_kwargs=settings, **changes)
        for settings, score in zip(SWEEPS[LENGTH], scores)
    ]


def finding(env_id: str, runs: list[RunResult]) -> Finding:
    """What the runs of the one agent say of the capability that an environment tests."""
    (found,) = assess(runs).values()
    return found[BY_ID[env_id]]


def differences(env_id: str, policy: str, **changes: Any) -> dict[str, Any]:
    """A result's diagnostics as an agent writes them, of a policy that is known."""
    found = evaluate_exactly(policy, env_id).comparison
    plain = {name: getattr(found, name).estimate for name in ("forward_kl", "reverse_kl", "entropy")}
    return {
        **plain,
        "metrics": {name: value.estimate for name, value in found.metrics.items()},
        "optimal_metrics": {name: value.estimate for name, value in found.optimal_metrics.items()},
        **changes,
    }


def test_every_diagnostic_is_one_capability():
    assert set(BY_ID) == set(SWEEPS) == {row.gym_id for row in REGISTRY if "diagnostic" in row.tags}
    assert len(BY_ID) == len(CAPABILITIES)
    for capability in CAPABILITIES:
        assert all(capability.axis in settings for settings in SWEEPS[capability.env_id] if capability.axis)
        assert (len(SWEEPS[capability.env_id]) > 1) == (capability.axis is not None)


def test_a_number_is_the_mean_of_clipped_scores():
    found = finding(LENGTH, lengths(0.96, 1.02, -3.0, 0.31))
    assert found.number == pytest.approx((0.96 + 1 + 0 + 0.31) / 4)
    assert found.missing == ()


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ((0.96, 0.9, 0.6, 0.31), "Its score falls from 0.96 at horizon 4 to 0.31 at 256."),
        ((0.1, 0.3, 0.2, 0.4), "Its score rises from 0.10 at horizon 4 to 0.40 at 256."),
        ((0.93, 0.96, 0.95, 0.94), "Its score keeps between 0.93 and 0.96 from horizon 4 to 256."),
        ((0.5, 0.9, -2.0, 0.4), "Its score is best at horizon 16 (0.90) and worst at 64 (-2.00)."),
        ((0.5,), "Its score is 0.50 at horizon 4. Not run: horizon 16, 64, 256."),
    ],
)
def test_a_sentence_says_how_the_score_moves(scores: tuple[float, ...], sentence: str):
    assert finding(LENGTH, lengths(*scores)).sentence == sentence


def test_seeds_are_averaged_before_they_are_clipped():
    runs = [*lengths(1.0, 1, 1, 1), *lengths(-1.0, 1, 1, 1, seed=1)]
    assert finding(LENGTH, runs).number == pytest.approx(3 / 4)


def test_what_was_not_run_is_missing_and_no_zero():
    found = finding(LENGTH, lengths(0.9, 0.7))
    assert found.number == pytest.approx(0.8)
    assert found.missing == SWEEPS[LENGTH][2:]
    other = finding(GOLD, lengths(0.9))
    assert other.number is None and other.sentence == "Not run."
    bare = finding(GOLD, [result(GOLD, 0.5)])
    assert bare.number is None and "no diagnostics" in bare.sentence


def test_a_score_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="a result has no value of score on klrl/DiagnosticLength-v0"):
        assess([result(LENGTH, None, env_kwargs={"horizon": 4})])


def test_staying_is_of_the_kl():
    env_id = "klrl/DiagnosticZeroReward-v0"
    still = finding(env_id, [result(env_id, None, regret=0.0)])
    assert still.number == 1 and "under 0.001 nats" in still.sentence
    moved = finding(env_id, [result(env_id, None, regret=0.07)])  # at kl_coef .1
    assert moved.number == pytest.approx(math.exp(-0.7)) and "0.7 nats" in moved.sentence


def test_the_start_is_that_of_the_task():
    env_id = "klrl/DiagnosticReference-v0"
    found = finding(env_id, [result(env_id, 0.5)])
    assert found.number == 0.5 and found.sentence.endswith("ends at 0.50.")
    assert float(found.sentence.split()[4].rstrip(";")) < 0, "the initial policy is worse than the reference"


def test_modes_are_the_score_with_the_divergence_turned_round():
    for policy, number in (("reference", 0.0), ("optimal", 1.0)):
        found = finding(MODES, [result(MODES, number, diagnostics=differences(MODES, policy))])
        assert found.number == pytest.approx(number, abs=1e-9)
    best = optimum(MODES)
    half = differences(MODES, "optimal", forward_kl=best.kl / 2)
    half["metrics"]["mode_c"] = 0.01
    found = finding(MODES, [result(MODES, 0.9, diagnostics=half)])
    assert found.number == pytest.approx(0.5)
    assert "mode_c has 0.01 of its texts, of the optimum's 0.34" in found.sentence
    never = differences(MODES, "optimal", forward_kl=None)
    found = finding(MODES, [result(MODES, 0.9, diagnostics=never)])
    assert found.number == 0 and "infinite" in found.sentence


def test_gold_is_compared_with_the_optimums():
    exact = differences(GOLD, "optimal")
    best = exact["optimal_metrics"]["gold"]
    for gold, number in ((best, 1.0), (best / 4, 0.25), (2 * best, 1.0)):
        run = result(GOLD, 0.7, diagnostics={**exact, "metrics": {"gold": gold}})
        found = finding(GOLD, [run])
        assert found.number == pytest.approx(number)
        assert f"gold reward is {gold:.2f}" in found.sentence and "scores 0.70" in found.sentence
    with pytest.raises(ValueError, match="no value of the metric gold"):
        assess([result(GOLD, 0.7, diagnostics={**exact, "metrics": {}})])


def test_stakes_name_the_kl():
    env_id = "klrl/DiagnosticPromptScale-v0"
    sentence = finding(env_id, [result(env_id, 0.62)]).sentence
    assert sentence.startswith("It scores 0.62 over stakes of 0.1, 1 and 10, with 1.25 nats of KL")
    assert f"{optimum(env_id).kl:.2f}" in sentence


def test_settings_are_alike_where_defaults_say_the_same():
    env_id = "klrl/DiagnosticDelay-v0"
    assert key(env_id, {}) == key(env_id, {"delay": 4}) == key(env_id, {"delay": 4.0, "kl_coef": 0.15})
    assert key(env_id, {}) != key(env_id, {"delay": 5})
    runs = [result(env_id, 0.9), result(env_id, 0.8, env_kwargs={"delay": 5})]
    found = finding(env_id, runs)
    assert [point.settings for point in found.points] == [{"delay": 4}] and found.number == 0.9
    assert outside(runs) == runs[1:]
    assert "- toy on `klrl/DiagnosticDelay-v0` with `{'delay': 5}`, seed 0" in page(assess(runs), runs)


def write(folder: Path, *runs: RunResult | dict[str, Any]) -> Path:
    """Runs as a benchmark leaves them."""
    for number, run in enumerate(runs):
        path = folder / f"run-{number}" / "seed-0" / "result.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run) if isinstance(run, dict) else run.model_dump_json())
    return folder


def test_results_of_other_environments_are_passed_over(tmp_path: Path):
    write(tmp_path, record("klrl/Keywords-v0", 0.3), record(LENGTH, 0.5, env_kwargs={"horizon": 4}))
    assert [run.env_id for run in read_runs(tmp_path)] == [LENGTH]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"run-0/seed-0/result\.json is no result: Invalid JSON"),
        (json.dumps({**record(LENGTH, 0.5), "kl_coef": 0}), r"result\.json is no result: kl_coef: .*greater"),
        (json.dumps({**record(LENGTH, 0.5), "tokens": "many"}), "tokens: "),
        (json.dumps({"agent": {"name": "toy"}}), "env_id: Field required"),
        (json.dumps(record("klrl/Keywords-v0", 0.3)), "1 result.json, none of them on a diagnostic"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str):
    write(tmp_path, {})
    (tmp_path / "run-0" / "seed-0" / "result.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_runs(tmp_path)


def test_folders_that_cannot_be_reported_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_runs(tmp_path / "none")
    with pytest.raises(ValueError, match=r"0 result\.json"):
        read_runs(tmp_path)
    write(tmp_path, record(LENGTH, 0.5), record(LENGTH, 0.6))
    with pytest.raises(ValueError, match=r"run-0.* and .*run-1.* are both seed 0 of toy"):
        read_runs(tmp_path)


def klrl(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_the_command_writes_page_and_figure(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    gold = result(GOLD, 0.7, agent="other", diagnostics=differences(GOLD, "optimal"))
    write(tmp_path, *lengths(0.96, 0.9, 0.6, 0.31), *lengths(0.5, -0.4, agent="other"), gold)
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 0, ran.output
    assert "0.69" in ran.output and "0.25 (2 of 4)" in ran.output
    written = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| capability | other | toy |" in written and "| Long texts | 0.25 (2 of 4) | 0.69 |" in written
    assert "| Stays put | – | – |" in written and "| No over-optimisation | 1.00 | – |" in written
    assert "Its score falls from 0.96 at horizon 4 to 0.31 at 256." in written
    assert "| toy | horizon 256 | 0.31 | 0.310 | 1.25 | 0.05 | 0 | 20,000 |" in written
    assert "report.png" in written
    assert "<svg" in (tmp_path / "report" / "report.svg").read_text(encoding="utf-8")
    with Image.open(tmp_path / "report" / "report.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50
    assert (pixels == (0x56, 0xB4, 0xE9)).all(axis=1).mean() > 0.005, "the bars"

    out = tmp_path / "alone"
    ran = klrl("report", str(tmp_path), "--agent", "toy", "--out", str(out))
    assert ran.exit_code == 0, ran.output
    assert "Its score falls from" in ran.output and "other" not in ran.output
    assert "other" not in (out / "report.md").read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    klrl("report", str(tmp_path), "--agent", "toy", "--out", str(out))
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}, (
        "the same results, the same files"
    )


def test_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    write(tmp_path, *lengths(0.5))
    for arguments, message in (
        ([str(tmp_path), "--agent", "nobody"], "--agent must be one of toy, got 'nobody'"),
        ([str(tmp_path / "none")], "there is no folder"),
    ):
        ran = klrl("report", *arguments)
        assert ran.exit_code == 2 and message in ran.stderr and len(ran.stderr.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 2 and "pip install 'klrl-envs[plots]'" in ran.stderr
    assert not (tmp_path / "report").exists()
