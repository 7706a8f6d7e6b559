"""A suite of the dummy agent: entries, what is on record, failures."""

import json
from pathlib import Path

import pytest

from klrl_envs.results.entry import Entry
from klrl_envs.results.plan import PlannedRun
from klrl_envs.results.record import RunRecord
from klrl_envs.results.runner import run_suite
from tests.results.dummy import SHA, bench, runs_of


def test_runs_become_an_entry(tmp_path: Path, dummy: str, calls: Path):
    assert run_suite(runs_of(dummy), bench(tmp_path), jobs=2) == []
    entry = Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json")
    assert [seed.seed for seed in entry.seeds] == [0, 1, 2]
    assert entry.score == pytest.approx(0.6)
    assert entry.score_interval is not None and entry.score_interval[0] < 0.6 < entry.score_interval[1]
    assert entry.command == (f"{dummy} --env-id klrl/Toy-v0 --tokens 1000 --seed {{seed}} --out {{out}}")
    assert "threads 1" in (tmp_path / "out" / "Toy-v0--dummy" / "seed-0" / "log.txt").read_text()


def test_finished_runs_are_not_done_again(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    entry = tmp_path / "entries" / "Toy-v0--dummy.json"
    assert len(Entry.load(entry).seeds) == 2  # a partial entry after each seed
    entry.unlink()
    run_suite(runs_of(dummy, 3), bench(tmp_path))
    assert calls.read_text().splitlines() == [f"klrl/Toy-v0 {seed}" for seed in (0, 1, 2)]
    assert len(Entry.load(entry).seeds) == 3


def test_seeds_on_record_are_not_done_again(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    text = (tmp_path / "entries" / "Toy-v0--dummy.json").read_text()
    run_suite(runs_of(dummy, 2), bench(tmp_path, out="elsewhere"))
    assert len(calls.read_text().splitlines()) == 2
    assert (tmp_path / "entries" / "Toy-v0--dummy.json").read_text() == text
    run_suite(runs_of(dummy, 3), bench(tmp_path, out="elsewhere"))
    assert len(calls.read_text().splitlines()) == 3
    assert [seed.seed for seed in Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json").seeds] == [0, 1, 2]


def test_settings_have_folders_of_their_own_and_make_no_entry(tmp_path: Path, dummy: str, calls: Path):
    settings = [{}, {"horizon": 4}, {"horizon": 16}, {"horizon": 16, "start": "a b", "target": [1, 2]}]
    runs = [
        PlannedRun("dummy", dummy, "klrl/Toy-v0", 0, 1000, json.dumps(changed, sort_keys=True))
        for changed in settings
    ]
    assert run_suite(runs, bench(tmp_path)) == []
    found = {path.parts[-3]: RunRecord.load(path) for path in (tmp_path / "out").rglob("result.json")}
    assert [result.env_kwargs for _, result in sorted(found.items())] == [
        settings[0],
        settings[2],
        settings[3],
        settings[1],
    ]
    assert {"Toy-v0--dummy", "Toy-v0--dummy--horizon=4", "Toy-v0--dummy--horizon=16"} < set(found)
    assert [path.name for path in (tmp_path / "entries").iterdir()] == ["Toy-v0--dummy.json"]
    assert Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json").env_kwargs == {}
    assert run_suite(runs, bench(tmp_path)) == []
    assert len(calls.read_text().splitlines()) == 4, "finished runs are not done again"
    stamp = tmp_path / "out" / "Toy-v0--dummy--horizon=4" / "seed-0" / "run.json"
    stamp.write_text(stamp.read_text().replace("4}", "5}"))
    run_suite(runs, bench(tmp_path))
    assert len(calls.read_text().splitlines()) == 5, "what was made with other settings is"


def test_another_command_or_task_is_run_anew(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 1), bench(tmp_path))
    run_suite(runs_of(f"{dummy} --mode other", 1), bench(tmp_path))
    assert len(calls.read_text().splitlines()) == 2
    moved = "b" * 64
    run_suite(runs_of(dummy.replace(SHA, moved), 1), bench(tmp_path, sha=moved))
    assert len(calls.read_text().splitlines()) == 3


def test_a_torn_result_is_run_anew(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 1), bench(tmp_path))
    (tmp_path / "entries" / "Toy-v0--dummy.json").unlink()
    result = tmp_path / "out" / "Toy-v0--dummy" / "seed-0" / "result.json"
    result.write_text(result.read_text()[:100])
    assert run_suite(runs_of(dummy, 1), bench(tmp_path)) == []
    assert len(calls.read_text().splitlines()) == 2
    assert RunRecord.load(result).seed == 0


def test_what_is_on_record_keeps_the_tier_that_it_earned(tmp_path: Path, dummy: str):
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    path = tmp_path / "entries" / "Toy-v0--dummy.json"
    Entry.load(path).model_copy(update={"tier": "verified"}).save(path)
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    assert Entry.load(path).tier == "verified"
    run_suite(runs_of(dummy, 3), bench(tmp_path))
    assert Entry.load(path).tier == "submitted" and len(Entry.load(path).seeds) == 3


def test_environments_of_users_make_no_entry(tmp_path: Path, dummy: str):
    assert run_suite(runs_of(dummy, 1, "me/Toy-v0"), bench(tmp_path)) == []
    assert (tmp_path / "out" / "me.Toy-v0--dummy" / "seed-0" / "result.json").exists()
    assert not (tmp_path / "entries").exists()
