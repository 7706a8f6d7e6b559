"""klrl check: whether results and entries hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import klrl_envs
from klrl_envs.results.entry import merge
from tests.cli.commands import klrl, refused, succeeded

MODES = "klrl/DiagnosticModes-v0"
AGENT = {"name": "mine", "url": "https://example.org/mine.git", "license": "MIT", "kind": "bound"}
COMMAND = "python mine.py --seed {seed} --out {out}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of the reference, and its entry, which is of a commit that nobody can check out."""
    folder = tmp_path_factory.mktemp("runs")
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=64)
    record = klrl_envs.write_result(
        evaluation,
        folder / "run",
        agent=AGENT,
        command="mine",
        checkout=folder,
        since=klrl_envs.ledger.mark(),
    )
    entry = merge([record], command=COMMAND, tier="submitted", score_interval=record.score_interval)
    entry.save(folder / "entries" / "DiagnosticModes-v0--mine.json")
    return folder


def test_what_holds_is_said_to_hold(folder: Path) -> None:
    path = str(folder / "run" / "result.json")
    assert succeeded(klrl("check", path)) == f"{path}: holds\n"
    (found,) = json.loads(succeeded(klrl("check", path, "--json")))
    assert found == {"file": path, "kind": "result", "holds": True, "problems": []}


def test_what_is_wrong_is_named_with_exit_code_1(folder: Path, tmp_path: Path) -> None:
    ran = klrl("check", str(folder))
    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    assert lines[0].endswith("result.json: holds") and lines[1].endswith(
        "DiagnosticModes-v0--mine.json: does not hold"
    )
    assert "commit must be the 40 digits" in lines[2]

    text = (folder / "run" / "result.json").read_text()
    record = json.loads(text)
    for change, named in (
        ({"regret": record["regret"] / 2}, "regret"),
        ({"tokens": 10**9}, "tokens"),
        ({"task_sha256": "0" * 64}, "task_sha256"),
        ({"speed": 1}, "speed"),
        ({"env_id": "me/Unknown-v0"}, "me/Unknown-v0"),
    ):
        wrong = tmp_path / "wrong.json"
        wrong.write_text(json.dumps({**record, **change}))
        ran = klrl("check", str(wrong), "--json")
        (found,) = json.loads(ran.stdout)
        assert ran.exit_code == 1 and not found["holds"]
        assert any(named in problem for problem in found["problems"]), found
    (tmp_path / "torn.json").write_text(text[:100])
    ran = klrl("check", str(tmp_path / "torn.json"))
    assert ran.exit_code == 1 and "does not hold" in ran.stdout


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    refused(klrl("check", str(tmp_path)), "holds no result.json")
    refused(klrl("check", str(tmp_path / "none")), "there is no file or folder")
