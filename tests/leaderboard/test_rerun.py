"""Reproduced rows: a command that is run again, at its commit, where nothing of this checkout is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klrl_envs.results.entry import Entry, entry_path, merge
from klrl_envs.results.guard import entry_interval
from klrl_envs.results.record import Measured
from klrl_envs.results.rules import task_sha256
from leaderboard.challenge import load_challenges
from leaderboard.rerun import Workplace, check_rerun, last_line, prepared, run
from leaderboard.verify import main, make_parser
from tests.results.guarded import fresh_record
from tests.results.records import fields, record

GRID = "klrl/GridNavigation-v0"
TOY = """
import json, os, pathlib, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert "PYTHONPATH" not in os.environ and "KLRL_SECRET" not in os.environ, os.environ
assert sys.prefix != sys.base_prefix and "venv" in sys.prefix, sys.prefix
assert pathlib.Path("toy.py").exists(), "the clone is where it runs"
if arguments["--mode"] == "fail":
    sys.exit("boom")
result = json.loads(pathlib.Path("template.json").read_text())
shift = {"drift": 0.3, "cheat": 20.0}.get(arguments["--mode"], 0.0)
seed = int(arguments["--seed"])
result |= json.loads(pathlib.Path("numbers.json").read_text())[seed]
for name, sign in (("objective", 1), ("expected_reward", 1), ("regret", -1)):
    result[name] += sign * shift
if arguments["--mode"] == "other":
    result["env_id"] = "klrl/Keywords-v0"
out = pathlib.Path(arguments["--out"])
if arguments["--mode"] == "policy":
    (out / "policy.safetensors").write_bytes(b"nothing")
if arguments["--mode"] != "silent":
    (out / "result.json").write_text(json.dumps(result))
"""


def numbers(seed: int) -> dict[str, Any]:
    """What the toy measures without a shift: those of a policy that was really evaluated."""
    plain = fresh_record(GRID, seed).plain()
    return {name: plain[name] for name in Measured.model_fields}


def git(folder: Path, *words: str) -> str:
    named = ["git", "-c", "user.name=toy", "-c", "user.email=toy@example.org", *words]
    return subprocess.run(named, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the toy; its newest commit breaks it, so that the older one must be taken."""
    folder = tmp_path_factory.mktemp("checkout")
    git(folder, "init", "-q")
    (folder / "toy.py").write_text(TOY)
    template = fields(agent=AGENT, task_sha256=task_sha256(GRID))
    (folder / "template.json").write_text(json.dumps(template))
    (folder / "numbers.json").write_text(json.dumps([numbers(seed) for seed in range(3)]))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "The toy")
    git(folder, "tag", "good")
    (folder / "toy.py").write_text("raise SystemExit('this is a later commit')")
    git(folder, "commit", "-qam", "Broken")
    return folder


@pytest.fixture(scope="module")
def home(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its clone and environment, made once."""
    place = Workplace(tmp_path_factory.mktemp("made"), str(checkout), https=False)
    return prepared(place, git(checkout, "rev-parse", "good"), lambda line: None).parent


AGENT = {"name": "toy", "url": "toy.py", "license": "MIT"}
Start = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def start(checkout: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Writes the entry of a command of the toy's, and gives its path and the arguments of a rerun."""
    monkeypatch.setattr("leaderboard.verify.CHECKOUT", checkout)
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("KLRL_SECRET", "mine")

    def make(mode: str, seeds: int = 3, **changes: Any) -> tuple[Path, list[str]]:
        commit = git(checkout, "rev-parse", "good")
        shared = {"agent": AGENT, "task_sha256": task_sha256(GRID), "commit": commit, **changes}
        records = [record(**{**shared, **numbers(seed)}) for seed in range(seeds)]
        command = f"python toy.py --mode {mode} --seed {{seed}} --out {{out}} ; touch pwned"
        entry = merge(
            records, command=command, tier="submitted", score_interval=entry_interval(GRID, records)
        )
        path = entry_path(GRID, "toy", tmp_path / "entries")
        entry.save(path)
        folder = Workplace.of(entry, tmp_path / "work", checkout, foreign=False).folder
        folder.mkdir(parents=True)
        (folder / home.name).symlink_to(home)
        return path, [str(path), "--rerun", "--work", str(tmp_path / "work")]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["same", "drift"])
def test_a_command_that_does_it_again_is_reproduced(
    mode: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    path, arguments = start(mode)
    before = Entry.load(path)
    assert main(arguments) == 0
    after = Entry.load(path)
    assert after.tier == "reproduced" and after.seeds == before.seeds
    assert "seed 1: objective" in capsys.readouterr().out
    place = path.parents[1] / "work"
    assert not list(place.rglob("pwned")), "no shell reads the command"
    # what was run is not run again
    results = sorted(place.glob("*/seed-*/result.json"))
    times = [result.stat().st_mtime_ns for result in results]
    assert len(times) == 3 and main(arguments) == 0
    assert times == [result.stat().st_mtime_ns for result in results]


@pytest.mark.slow
def test_a_part_of_the_seeds_gives_no_tier(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    path, arguments = start("same")
    assert main([*arguments, "--seeds", "2,0"]) == 0
    assert "2 of 3 seeds were run again and agree; the tier asks for all" in capsys.readouterr().out
    assert Entry.load(path).tier == "submitted"
    assert main([*arguments, "--seeds", "7"]) == 1
    assert "--seeds must be of [0, 1, 2], got [7]" in capsys.readouterr().err
    assert main(arguments) == 0 and Entry.load(path).tier == "reproduced"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("cheat", "Welch's test at 99% tells them apart"),
        ("fail", "ended with exit code 1: boom"),
        ("silent", "the command ended well and left no"),
        ("other", "the run says env_id 'klrl/Keywords-v0', not the entry's"),
        ("policy", "is no safetensors file"),
    ],
)
def test_what_does_not_repeat_is_refused(
    mode: str, message: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    path, arguments = start(mode)
    before = path.read_bytes()
    assert main(arguments) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "not reproduced: " in line and message in line
    assert path.read_bytes() == before
    challenges = list((path.parents[1] / "challenges").glob("*.json"))
    assert len(challenges) == (mode == "cheat")
    if challenges:
        (one,) = load_challenges(path.parents[1])
        assert one.open and message in one.reason and one.concerns(Entry.load(path)) and len(one.runs) == 3


@pytest.mark.slow
def test_a_commit_that_is_not_there_is_refused(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    _, arguments = start("same", commit="d" * 40)
    assert main(arguments) == 1
    assert "git ended with exit code 128" in capsys.readouterr().err


def of_url(url: str) -> Entry:
    agent = {**AGENT, "url": url}
    return merge(
        [record(agent=agent)],
        command="python toy.py {seed} {out}",
        tier="submitted",
        score_interval=(0.4, 0.6),
    )


def test_code_from_elsewhere_is_run_only_where_it_is_allowed(tmp_path: Path) -> None:
    url = "https://example.org/toy.git"
    with pytest.raises(
        ValueError, match=r"executes code of https://example\.org/toy\.git.*--yes-run-foreign-code"
    ):
        Workplace.of(of_url(url), tmp_path, tmp_path, foreign=False)
    assert Workplace.of(of_url(url), tmp_path, tmp_path, foreign=True).source == url
    with pytest.raises(ValueError, match=r"agent\.url must be an https url"):
        Workplace.of(of_url("http://example.org/toy.git"), tmp_path, tmp_path, foreign=True)
    assert Workplace.of(of_url("toy.py"), tmp_path, tmp_path, foreign=False).source == str(tmp_path)
    assert "executes its author's" in make_parser().format_help()


def test_another_command_or_commit_is_another_run(tmp_path: Path) -> None:
    entry = of_url("toy.py")
    changes = ({}, {"command": "python toy.py --y {seed} {out}"}, {"commit": "d" * 40})
    entries = [entry.model_copy(update=change) for change in changes]
    folders = [Workplace.of(each, tmp_path, tmp_path, foreign=False).folder for each in entries]
    assert (
        len(set(folders)) == 3 and folders[0] == Workplace.of(entry, tmp_path, tmp_path, foreign=False).folder
    )


def test_runs_that_repeat_each_seed_need_no_spread() -> None:
    entry = of_url("toy.py")
    check_rerun(entry, entry.records())
    moved = entry.records()[0].model_copy(update={"objective": 50.1})
    with pytest.raises(ValueError, match="two runs a side"):
        check_rerun(entry, [moved])


def test_a_commit_must_be_one(tmp_path: Path) -> None:
    place = Workplace(tmp_path, str(tmp_path), https=False)
    with pytest.raises(ValueError, match="commit must be 40 digits"):
        prepared(place, "--upload-pack=evil", lambda line: None)


@pytest.mark.parametrize("pinned", [True, False])
def test_what_a_clone_has_is_installed(pinned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself is not run here: it would fetch torch."""
    commands: list[list[str]] = []

    def pretend(words: list[str], folder: Path, log: Path, more: Any = None) -> None:
        commands.append(words)
        if words[1] == "clone":
            Path(words[-1]).mkdir()
            (Path(words[-1]) / "pyproject.toml").touch()
            if pinned:
                (Path(words[-1]) / "constraints.txt").touch()

    monkeypatch.setattr("leaderboard.rerun.run", pretend)
    place = Workplace(tmp_path, "https://example.org/toy.git", https=True)
    clone = prepared(place, "d" * 40, lambda line: None)
    cloned, checked_out, venv, installed = commands
    assert cloned == ["git", "clone", "--no-checkout", "--", "https://example.org/toy.git", str(clone)]
    assert checked_out[-1] == "d" * 40 and venv[1:3] == ["-m", "venv"]
    assert installed[0].startswith(venv[-1]) and installed[-2:] == ["-e", ".[agents]"]
    assert (installed[-4:-2] == ["-c", "constraints.txt"]) == pinned
    assert prepared(place, "d" * 40, lambda line: None) == clone and len(commands) == 4, "it is made once"


def test_the_end_of_a_log_of_any_length_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        stream.truncate(1 << 33)
        stream.seek(0, 2)
        stream.write(b"\nthe end\n")
    assert last_line(log) == "the end"
    with pytest.raises(ValueError, match="nothing-of-this-name cannot be run: No such file"):
        run(["nothing-of-this-name"], tmp_path, tmp_path / "other.txt")
