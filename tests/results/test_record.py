"""What a record of a run refuses, and what it reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from klrl_envs.results.entry import merge
from klrl_envs.results.record import RunRecord
from tests.results.records import COMMAND, COMPARISON, fields, record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scoer": 1}, "scoer"),
        ({"schema_version": 3}, "schema_version"),
        ({"score_interval": [0.6, 0.4]}, "ordered"),
        ({"score": 0.9}, "hold the score"),
        ({"score": 1.2, "score_interval": [1.1, 1.3]}, "above 1 beyond its interval"),
        ({"score": None}, "both None"),
        ({"score": float("nan")}, "finite"),
        ({"kl_coef": 0}, "kl_coef"),
        ({"kl": 2 / 0.693147, "objective": 66 - 8 * 2 / 0.693147 * 4}, "far from expected_reward"),
        ({"task_sha256": "abc"}, "task_sha256"),
        ({"agent": {"name": "a b", "url": "https://example.org", "license": "MIT"}}, "agent.name"),
        ({"agent": {"name": "a", "url": "javascript:alert(1)", "license": "MIT"}}, "agent.url"),
        ({"tokens": -1}, "tokens"),
    ],
)
def test_wrong_results_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        record(**changes)


def test_a_score_near_1_within_its_interval_is_allowed():
    assert record(score=1.02, score_interval=[0.97, 1.07]).score == 1.02


def test_no_score_is_allowed_where_there_is_none():
    assert record(score=None, score_interval=None).score is None


def test_records_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        record().seed = 3  # type: ignore[misc]


def test_records_may_hold_a_comparison_which_entries_drop():
    with_them = record(comparison=COMPARISON)
    assert with_them.comparison is not None and with_them.comparison.forward_kl is None
    assert RunRecord.model_validate_json(with_them.to_json()) == with_them
    for wrong in ({"entropy": None}, {"metrics": {"gold": "much"}}, {"extra": 1.0}):
        with pytest.raises(ValidationError):
            record(comparison={**COMPARISON, **wrong})
    merged = merge([with_them], command=COMMAND, tier="submitted", score_interval=(0.45, 0.55))
    assert "comparison" not in merged.to_json()
    assert merged == merge([record()], command=COMMAND, tier="submitted", score_interval=(0.45, 0.55))


def test_a_comparison_may_go_by_its_old_name():
    old = {**fields(), "diagnostics": COMPARISON}
    assert RunRecord.model_validate(old) == record(comparison=COMPARISON)
    assert "diagnostics" not in RunRecord.model_validate(old).to_json()
    with pytest.raises(ValidationError, match="diagnostics"):
        record(**old, comparison=COMPARISON)


def test_a_record_is_saved_and_loaded_as_it_was(tmp_path: Path):
    path = tmp_path / "new" / "result.json"
    whole = record(comparison=COMPARISON, env_kwargs={"start": "ä"})
    whole.save(path)
    assert RunRecord.load(path) == whole
    assert list(json.loads(path.read_text("utf-8"))) == [*fields(), "comparison"], "the fields in their order"
    assert [each.name for each in path.parent.iterdir()] == ["result.json"], "no temporary file is left"
    path.write_text(path.read_text("utf-8")[:50])
    with pytest.raises(ValueError, match=r"(?s)result\.json: .*Invalid JSON"):
        RunRecord.load(path)
