"""Entries: what they keep of the records, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from klrl_envs.results.entry import Entry, entry_path, merge
from leaderboard.folder import ENTRIES
from tests.results.records import COMMAND, entry, record


def test_entries_keep_all_that_the_results_say():
    other = {"cpu": "another", "cores": 8, "gpu": "H", "memory_gb": 64.0}
    seeds = [
        record(seed=1, score=0.52, date="2026-01-02"),
        record(seed=0, score=0.48, hardware=other, commit="f" * 40),
    ]
    merged = merge(seeds, command=COMMAND, tier="reproduced", score_interval=(0.4, 0.6))
    assert merged.date == "2026-01-02" and merged.hardware.cpu == "a|cpu"
    assert merged.seeds[0].hardware is not None and merged.seeds[1].hardware is None
    assert len(merged.distinct("hardware")) == 2
    text = merged.to_json()
    assert Entry.model_validate_json(text) == merged
    assert "hardware" not in json.loads(text)["seeds"][1]
    back = merged.records()
    assert [(item.seed, item.commit, item.hardware) for item in back] == [
        (0, "f" * 40, seeds[1].hardware),
        (1, seeds[0].commit, seeds[0].hardware),
    ]
    assert merge(back, command=COMMAND, tier="reproduced", score_interval=(0.4, 0.6)) == merged


def test_results_of_different_tasks_make_no_entry():
    with pytest.raises(ValueError, match="agree in task_sha256"):
        merge(
            [record(seed=0), record(seed=1, task_sha256="b" * 64)],
            command=COMMAND,
            tier="submitted",
            score_interval=(0, 1),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": 0.55}, "mean of the seeds"),
        ({"command": "python -m toy --seed {seed}"}, "out"),
        ({"tier": "gold"}, "tier"),
        ({"seeds": []}, "seeds"),
        ({"score": None, "score_interval": None}, "None exactly"),
    ],
)
def test_wrong_entries_are_refused(changes: dict[str, Any], message: str):
    data = json.loads(entry().to_json())
    with pytest.raises(ValidationError, match=message):
        Entry.model_validate({**data, **changes})


def test_seeds_are_distinct():
    data = json.loads(entry().to_json())
    data["seeds"][1]["seed"] = 0
    with pytest.raises(ValidationError, match="distinct and ascending"):
        Entry.model_validate(data)


def test_files_are_named_after_what_they_hold(tmp_path: Path):
    path = entry_path("klrl/GridNavigation-v0", "toy", tmp_path)
    assert path.name == "GridNavigation-v0--toy.json"
    entry().save(path)
    assert Entry.load(path) == entry()
    other = path.rename(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"other\.json: .*must be called GridNavigation-v0--toy\.json"):
        Entry.load(other)


@pytest.mark.parametrize("path", sorted(ENTRIES.glob("*.json")), ids=lambda path: path.stem)
def test_committed_entries_are_read_and_written_byte_for_byte(path: Path):
    text = path.read_text("utf-8")
    found = Entry.load(path)
    assert found.to_json() == text
    again = merge(
        found.records(), command=found.command, tier=found.tier, score_interval=found.score_interval
    )
    assert again.to_json() == text
