"""Scores of trainings against tokens and seconds: how points are made, and that runs are done once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import trainers
from benchmarks.studies.trainers import Curve, Trainer, curve_of, run, seconds_to

RUN = Trainer("trl-test", "TRL RLOO, test", ("examples.trl_rloo",))


def written(folder: Path, progress: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in progress))
    return folder


def line(tokens: int, seconds: float, objective: float) -> dict[str, Any]:
    return {
        "tokens": tokens, "seconds": 3 * seconds, "core_seconds": seconds, "objective": objective,
        "reward": 0.6, "kl": 2.0,
    }  # fmt: skip


def training(folder: Path) -> Path:
    """100 tokens an update and 10 a second; the objective rises by .01."""
    return written(folder, [line(100 * n, 10 * n, 0.5 + n / 100) for n in range(1, 11)])


def test_points_are_means_of_windows_and_seconds_are_those_of_training(tmp_path: Path) -> None:
    curve = curve_of(RUN, training(tmp_path), window=400)
    assert curve.tokens == [400, 800, 1000]
    assert curve.seconds == pytest.approx([40, 80, 100])
    assert curve.objective == pytest.approx([0.525, 0.565, 0.595])
    assert curve.command == "python -m examples.trl_rloo"
    assert curve.scores(0.5, 0.1) == pytest.approx([0.25, 0.65, 0.95])


def test_what_was_written_before_the_first_update_is_not_its_own(tmp_path: Path) -> None:
    late = [line(1000, 500.0, 0.9), line(1100, 510.0, 0.5), line(1200, 520.0, 0.5)]
    curve = curve_of(RUN, written(tmp_path, late), window=400)
    assert curve.objective == pytest.approx([1.9 / 3], abs=1e-5)


def test_what_is_left_over_is_no_point(tmp_path: Path) -> None:
    assert curve_of(RUN, training(tmp_path), window=900).tokens == [900]


def test_an_update_without_an_objective_says_nothing(tmp_path: Path) -> None:
    folder = training(tmp_path)
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    lines.insert(2, {"tokens": 250, "core_seconds": 2.5, "from_the_heads": 0.4})
    (folder / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curve_of(RUN, folder, window=400).objective == pytest.approx([0.525, 0.565, 0.595])


def test_a_score_is_reached_where_the_rising_curve_reaches_it() -> None:
    seconds = [10.0, 20.0, 30.0, 40.0, 50.0]

    def reached(scores: list[float], score: float) -> float | None:
        curve = Curve("", "", {}, [1] * len(scores), seconds[: len(scores)], scores, scores, scores)
        return seconds_to(curve, scores, score)

    assert reached([0.0, 0.2, 0.4, 0.6], 0.5) == pytest.approx(35)
    assert reached([0.0, 0.6, 0.2, 0.4, 0.6], 0.5) == pytest.approx(45), "one lucky window does not count"
    assert reached([0.5, 0.6], 0.5) == 10.0
    assert reached([0.1, 0.6, 0.2], 0.5) is None and reached([0.1, 0.2], 0.5) is None


def test_a_training_that_fails_is_told_with_its_log(tmp_path: Path) -> None:
    run([sys.executable, "-c", "print('all is well')"], tmp_path / "well")
    assert (tmp_path / "well" / "log").read_text() == "all is well\n"
    with pytest.raises(RuntimeError, match="no_such_module"):
        run([sys.executable, "-m", "no_such_module"], tmp_path)


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

    monkeypatch.setattr(trainers, "run", fake)
    given = ["--runs", str(runs), "--out", str(out)]
    assert trainers.main(given) == 1 and ran == ["trl-test", "ppo-all"]
    seen = capsys.readouterr()
    assert "seconds to 0.4: 55" in seen.out and "ppo failed: of this" in seen.err
    assert trainers.main([*given, "--only", "trl"]) == 0 and ran == ["trl-test", "ppo-all"]
    page = (out / "README.md").read_text()
    assert "| TRL RLOO, test | 1,000 | 100 | 10 | 55 |" in page and "ppo" not in page.split("| ---")[1]
    names = {path.name for path in out.iterdir()}
    assert {"trl-test.json", "trainers.svg", "trainers.png"} <= names
    assert trainers.main(["--draw", "--out", str(tmp_path / "empty"), "--runs", str(runs)]) == 1
