"""The page of what every baseline can do: its records, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.capabilities import __main__ as capabilities
from benchmarks.capabilities.__main__ import (
    FOLDER,
    KEPT,
    SEED,
    keep,
    kept,
    main,
    of_plan,
    of_record,
    page,
    planned,
)
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.findings import findings_of
from tests.results.diagnostics import lengths, write


def test_the_committed_records_are_of_the_suite() -> None:
    records = kept(FOLDER)
    wanted = {of_plan(run) for run in planned()}
    assert {of_record(each) for each in records} <= wanted and len(records) > 0.3 * len(wanted)
    assert {each.seed for each in records} == {SEED}
    assert all("--out {out}" in each.command for each in records)
    assert all("-dirty" not in each.commit for each in records)


def test_the_committed_page_is_of_the_records() -> None:
    records = kept(FOLDER)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(records, findings_of(records))


def test_records_are_kept_by_agent_without_where_they_were_written(tmp_path: Path) -> None:
    first = lengths(0.9, 0.8, 0.7, 0.6)
    ours = [
        each.model_copy(update={"command": "python -m toy --out /home/me/runs --tokens 9"}) for each in first
    ]
    keep([*ours, *lengths(0.5, 0.4, agent="other")], tmp_path)
    assert sorted(path.name for path in (tmp_path / KEPT).iterdir()) == ["other.json", "toy.json"]
    found = kept(tmp_path)
    assert len(found) == 6
    assert {each.command for each in found if each.agent.name == "toy"} == {
        "python -m toy --out {out} --tokens 9"
    }
    keep(lengths(0.3, agent="other"), tmp_path)
    scores = [each.score for each in kept(tmp_path) if each.agent.name == "other"]
    assert sorted(map(str, scores)) == ["0.3", "0.4"], (
        "a run that is made again takes the place of the old one"
    )
    assert len(kept(tmp_path)) == 6


def test_the_command_keeps_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    done = [each for each in kept(FOLDER) if each.agent.name == "reference"]
    dated = done[0].model_copy(update={"task_sha256": "0" * 64, "seed": SEED + 1})
    write(tmp_path / "runs", *done, dated, *lengths(0.9))
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "README.md").read_text(encoding="utf-8")
    assert f"{len(done)} of the " in text and "| Stays put | 1.00 |" in text
    assert "passed over 2 records" in capsys.readouterr().out, "another task's and another agent's"
    assert (tmp_path / "page" / "report.png").stat().st_size > 10_000
    with pytest.raises(SystemExit):
        main(["--draw", "--out", str(tmp_path / "empty")])
    assert "no records are kept" in capsys.readouterr().err


def test_only_what_is_not_on_record_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = [run for run in planned() if run.agent == "reference"]
    asked = []
    monkeypatch.setattr(capabilities, "planned", lambda: [first, *rest])
    monkeypatch.setattr(capabilities, "run_session", lambda runs, *_, **__: asked.append(list(runs)) or 0)
    monkeypatch.setattr(capabilities, "finished", lambda runs, benchmark: [])
    done = next(each for each in kept(FOLDER) if of_record(each) == of_plan(first))
    keep([done], tmp_path)
    benchmark = Benchmark(out=tmp_path / "work", entries=None, threads=1)
    assert capabilities.run_missing(benchmark, tmp_path, 1) == 0
    assert asked == [rest]
    keep([done.model_copy(update={"task_sha256": "0" * 64})], tmp_path)
    capabilities.run_missing(benchmark, tmp_path, 1)
    assert asked[1] == [first, *rest], "a record of another task stands for nothing"
