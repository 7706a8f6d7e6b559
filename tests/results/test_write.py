"""The writer: a record from an evaluation, as it was measured and where."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs import RunRecord, write_result
from klrl_envs.ledger import mark
from klrl_envs.results import Agent
from klrl_envs.results.rules import check_run, task_sha256

ROOT = Path(__file__).resolve().parents[2]
MINE = {"name": "mine", "url": "https://example.org/mine", "license": "MIT"}
MODES = "klrl/DiagnosticModes-v0"


def written(out: Path, policy: Any, env_id: str, env_kwargs: dict[str, Any] | None = None) -> RunRecord:
    """The record of a policy, written and read again."""
    evaluation = klrl_envs.evaluate(policy, env_id, episodes=256, seed=3, **(env_kwargs or {}))
    record = write_result(
        evaluation, out, agent=MINE, command="python -m mine", tokens=1000, seconds=1.23456, since=mark(),
        seed=3, env_kwargs=env_kwargs, checkout=out,
    )  # fmt: skip
    assert RunRecord.load(out / "result.json") == record
    return record


def test_a_record_is_what_was_measured(tmp_path: Path):
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=256, seed=3)
    record = written(tmp_path / "new", "reference", MODES)
    check_run(record)
    assert evaluation.score is not None
    assert record.score == evaluation.score.estimate
    assert record.score_interval == (evaluation.score.lower, evaluation.score.upper)
    for name in ("objective", "expected_reward", "kl", "regret"):
        assert getattr(record, name) == getattr(evaluation, name).estimate
    assert (record.env_id, record.kl_coef) == (MODES, evaluation.kl_coef)
    assert record.task_sha256 == task_sha256(MODES)
    assert (record.seed, record.tokens, record.seconds) == (3, 1000, 1.235)
    assert record.agent == Agent.model_validate(MINE) and record.command == "python -m mine"
    assert record.versions.klrl_envs == klrl_envs.__version__ and record.hardware.cores >= 1
    assert record.commit == "unknown", "a folder that is no checkout"


def test_a_name_is_enough_of_an_agent_and_the_command_is_what_was_typed(tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys, klrl_envs\n"
        f"evaluation = klrl_envs.evaluate('reference', '{MODES}', episodes=16)\n"
        "klrl_envs.write_result(evaluation, sys.argv[2], agent='mine', tokens=0, seconds=1.0)\n"
    )
    subprocess.run([sys.executable, "mine.py", "--out", "a folder"], cwd=tmp_path, check=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    record = RunRecord.load(tmp_path / "a folder" / "result.json")
    assert record.agent == Agent(name="mine") and record.agent.url is None
    assert record.command == "python mine.py --out 'a folder'"
    module = ["-m", "mine", "--out", "other"]
    subprocess.run([sys.executable, *module], cwd=tmp_path, check=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert RunRecord.load(tmp_path / "other" / "result.json").command == "python -m mine --out other"


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ({**MINE, "url": "git@example.org:mine"}, "^agent: url: String should match pattern"),
        ({**MINE, "licence": "MIT"}, "^agent: licence: Extra inputs are not permitted$"),
        ("no name", "^agent: name: String should match pattern"),
    ],
)
def test_what_is_no_agent_is_said_in_a_line(tmp_path: Path, agent: Any, message: str):
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=16)
    with pytest.raises(ValueError, match=message) as found:
        klrl_envs.write_result(evaluation, tmp_path, agent=agent)
    assert "\n" not in str(found.value) and not list(tmp_path.iterdir())


def test_a_record_compares_with_the_optimum(tmp_path: Path):
    found = klrl_envs.evaluate_exactly("reference", MODES).comparison
    comparison = written(tmp_path, "reference", MODES).comparison
    assert comparison is not None and comparison.exact
    assert comparison.reverse_kl == found.reverse_kl.estimate
    assert comparison.forward_kl == found.forward_kl.estimate
    assert comparison.metrics == {name: value.estimate for name, value in found.metrics.items()}
    assert set(comparison.optimal_metrics) == set(comparison.metrics)


class Never:
    """A policy that never takes the first of four actions, and the others alike."""

    def state_log_probs(self, context: Any, state: Any, time: Any) -> np.ndarray:
        return np.tile(np.array([-np.inf, *[-np.log(3)] * 3]), (len(context), 1))


def test_an_infinite_divergence_has_no_number(tmp_path: Path):
    record = written(tmp_path, Never(), "klrl/GridNavigation-v0")
    assert record.comparison is not None and record.comparison.forward_kl is None


def test_arguments_of_the_environment_are_kept(tmp_path: Path):
    record = written(tmp_path, "reference", MODES, {"kl_coef": 0.5})
    assert record.env_kwargs == {"kl_coef": 0.5} and record.kl_coef == 0.5
    check_run(record)


def test_where_there_is_no_score_there_is_none(tmp_path: Path):
    record = written(tmp_path, "reference", "klrl/DiagnosticZeroReward-v0")
    assert record.score is None and record.score_interval is None
    assert json.loads((tmp_path / "result.json").read_text())["score"] is None


def test_the_id_of_features_is_that_of_the_environment(tmp_path: Path):
    assert written(tmp_path, "reference", "klrl/DiagnosticModesFeatures-v0").env_id == MODES


def test_what_nobody_can_measure_is_not_written(tmp_path: Path):
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=256)
    for agent, tokens in (({**MINE, "name": "a b"}, 1000), (MINE, -1)):
        with pytest.raises(ValueError, match=r"name|tokens"):
            write_result(
                evaluation, tmp_path, agent=agent, command="mine", tokens=tokens, seconds=1.0, since=mark()
            )
    assert not list(tmp_path.iterdir())


def test_what_json_has_no_form_for_is_refused(tmp_path: Path):
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=16)
    for wrong in (float("nan"), np.int64(3)):
        with pytest.raises(ValueError, match="env_kwargs must be what JSON can hold"):
            write_result(
                evaluation,
                tmp_path,
                agent=MINE,
                command="x",
                tokens=0,
                seconds=0,
                since=mark(),
                env_kwargs={"a": wrong},
            )
    record = write_result(
        evaluation,
        tmp_path,
        agent=MINE,
        command="x",
        tokens=0,
        seconds=0,
        since=mark(),
        env_kwargs={"a": (1, 2)},
    )
    assert record.env_kwargs == {"a": [1, 2]} and RunRecord.load(str(tmp_path / "result.json")) == record


def test_an_environment_without_an_id_has_no_record(tmp_path: Path):
    reference = klrl_envs.UniformReference(2)
    automaton = klrl_envs.automata.from_keywords([1], 2)
    env = klrl_envs.exact_task(reference, automaton, horizon=2, kl_coef=1.0)
    evaluation = klrl_envs.evaluate("reference", env, episodes=16)
    with pytest.raises(ValueError, match=r"give yours an id by klrl_envs\.register"):
        write_result(evaluation, tmp_path, agent=MINE, command="x", tokens=0, seconds=0, since=mark())
