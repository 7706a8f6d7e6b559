"""Scores of trainings against tokens and seconds: how points are made, and that runs are done once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import trainers
from benchmarks.studies.trainers import Trainer, curve_of, seconds_to, watch

RUN = Trainer("trl-test", "TRL RLOO, test", ("examples.trl_rloo",))


def written(folder: Path, progress: list[dict[str, Any]], core: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (("progress.jsonl", progress), ("core.jsonl", core)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def training(folder: Path) -> Path:
    """100 tokens an update and 10 a second, after 7 seconds of starting up; the objective rises by .01."""
    progress = [
        {"tokens": 100 * n, "seconds": n, "objective": 0.5 + n / 100, "reward": 0.6, "kl": 2.0}
        for n in range(1, 11)
    ]
    core = [{"tokens": 100 * n, "seconds": 7 + 10 * n} for n in range(1, 11)]
    return written(folder, progress, core)


def test_points_are_means_of_windows_and_seconds_are_those_of_training(tmp_path: Path) -> None:
    curve = curve_of(RUN, training(tmp_path), window=400)
    assert curve.tokens == [400, 800, 1000]
    assert curve.seconds == pytest.approx([40, 80, 100])
    assert curve.objective == pytest.approx([0.525, 0.565, 0.595])
    assert curve.command == "python -m examples.trl_rloo"
    scores = curve.scores(0.5, 0.1)
    assert scores == pytest.approx([0.25, 0.65, 0.95])
    assert seconds_to(curve, scores, 0.6) == pytest.approx(80) and seconds_to(curve, scores, 0.99) is None


def test_what_is_left_over_is_no_point(tmp_path: Path) -> None:
    assert curve_of(RUN, training(tmp_path), window=900).tokens == [900]


def test_an_update_without_an_objective_says_nothing(tmp_path: Path) -> None:
    folder = training(tmp_path)
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    lines.insert(2, {"tokens": 250, "seconds": 2.5, "from_the_heads": 0.4})
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curve_of(RUN, folder, window=400).objective == pytest.approx([0.525, 0.565, 0.595])


def test_the_watch_reads_what_the_process_itself_has_used(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    code = (
        "import json, sys, time\n"
        "for n in range(1, 4):\n"
        "    open(sys.argv[1], 'a').write(json.dumps({'tokens': 100 * n}) + '\\n')\n"
        "    time.sleep(1.6)\n"
    )
    watch([sys.executable, "-c", code, str(tmp_path / "progress.jsonl")], tmp_path)
    lines = trainers.lines_of(tmp_path / "core.jsonl")
    assert [line["tokens"] for line in lines] == [100, 200, 300]
    assert all(line["seconds"] < 1.5 for line in lines), "to sleep uses no core"
    with pytest.raises(RuntimeError, match="no_such_module"):
        watch([sys.executable, "-m", "no_such_module"], tmp_path)


def test_what_is_there_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    runs, out = tmp_path / "runs", tmp_path / "out"
    out.mkdir()
    level = {"start": 0.5, "start_stderr": 0.001, "gap": 0.1}
    (out / "level.json").write_text(json.dumps(level))
    own = Trainer("ppo-all", "ppo, all weights", ("agents.ppo",))
    monkeypatch.setattr(trainers, "TRAINERS", (RUN, own))
    monkeypatch.setattr(trainers, "WINDOW", 400)
    ran: list[str] = []

    def fake(command: list[str], folder: Path) -> None:
        ran.append(folder.name)
        if folder.name == "ppo-all":
            raise RuntimeError("ppo failed: of this")
        training(folder)

    monkeypatch.setattr(trainers, "watch", fake)
    given = ["--runs", str(runs), "--out", str(out)]
    assert trainers.main(given) == 1 and ran == ["trl-test", "ppo-all"]
    seen = capsys.readouterr()
    assert "seconds to 0.4: 80" in seen.out and "ppo failed: of this" in seen.err
    assert trainers.main([*given, "--only", "trl"]) == 0 and ran == ["trl-test", "ppo-all"]
    page = (out / "README.md").read_text()
    assert "| TRL RLOO, test | 1,000 | 100 | 10 | 80 |" in page and "ppo" not in page.split("| ---")[1]
    names = {path.name for path in out.iterdir()}
    assert {"trl-test.json", "trainers.svg", "trainers.png"} <= names
    assert trainers.main(["--draw", "--out", str(tmp_path / "empty"), "--runs", str(runs)]) == 1
