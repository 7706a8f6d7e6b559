"""A training that was killed goes on to the same numbers."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import klrl_envs
from agents import checkpoints
from agents.checkpoints import load_state, save_state
from agents.networks.policy import check_names
from agents.run import CHECKPOINT, LINES, Training
from klrl_envs.ledger import Book
from klrl_envs.tasks import automaton_task
from tests.agents.trainings import TRAININGS

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"episodes": 32, "evaluation_seed": 1, "threads": 1, "device": "cpu", "checkpoint_seconds": 0.0}


class Killed(BaseException):
    """In place of a signal."""


def trained(name: str, out: Path, **changes: Any) -> klrl_envs.Evaluation:
    agent, prefix, given = TRAININGS[name]
    module = importlib.import_module(f"agents.{agent}")
    return module.train(getattr(module, f"{prefix}Arguments")(**COMMON | given | changes, out=str(out)))


def lines(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in found]


def assert_same_run(one: Path, other: Path, policy: str = "policy.safetensors") -> None:
    """The same weights to the bit, lines, and numbers."""
    for name in ("progress.jsonl", "episodes.jsonl"):
        assert lines(one / name) == lines(other / name)
    weights, again = (load_file(folder / policy) for folder in (one, other))
    assert weights.keys() == again.keys()
    for key, weight in weights.items():
        np.testing.assert_array_equal(weight, again[key], err_msg=key)
    records = [klrl_envs.RunRecord.load(folder / "result.json") for folder in (one, other)]
    for field in ("score", "score_interval", "objective", "kl", "expected_reward", "regret"):
        assert getattr(records[0], field) == getattr(records[1], field)
    assert not (one / CHECKPOINT).exists() and not (other / CHECKPOINT).exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_goes_on_to_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(name, tmp_path / "whole")
    updates = len(lines(tmp_path / "whole" / "progress.jsonl"))
    assert updates > 3
    rng = np.random.default_rng(len(name))
    note, seen, dies = Training.note, [0], [1]

    def noted(training: Training, **numbers: Any) -> None:
        note(training, **numbers)
        seen[0] += 1
        if seen[0] == dies[0]:
            raise Killed

    monkeypatch.setattr(Training, "note", noted)
    for _ in range(3):  # the first time before there is a checkpoint
        seen[0] = 0
        with pytest.raises(Killed):
            trained(name, tmp_path / "killed", resume=True)
        dies[0] = int(rng.integers(2, max(updates // 2, 3)))
    dies[0] = -1
    trained(name, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    # what was written twice counts twice
    counted = [
        klrl_envs.RunRecord.load(tmp_path / each / "result.json").tokens for each in ("whole", "killed")
    ]
    assert counted[1] > counted[0]


def test_other_arguments_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(training: Training, *_: Any, **__: Any) -> None:
        raise Killed

    name = "reinforce on an exact task"
    monkeypatch.setattr(Training, "finish", stop)
    with pytest.raises(Killed):
        trained(name, tmp_path)
    with pytest.raises(ValueError, match=r"a training with seed 0 and not 1; give its arguments or another"):
        trained(name, tmp_path, seed=1, resume=True)
    assert (tmp_path / CHECKPOINT).is_file() and lines(tmp_path / "progress.jsonl")
    # a training that was killed while it was evaluated only evaluates
    monkeypatch.undo()
    before = lines(tmp_path / "progress.jsonl")
    trained(name, tmp_path, resume=True, checkpoint_seconds=30.0)
    assert lines(tmp_path / "progress.jsonl") == before
    # without the flag it begins anew
    trained(name, tmp_path)
    assert lines(tmp_path / "progress.jsonl") == before


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_finished_training_is_not_resumed(tmp_path: Path) -> None:
    name = "reinforce on an exact task"
    trained(name, tmp_path)
    before = files(tmp_path)
    for changes in ({}, {"seed": 1}):
        with pytest.raises(
            ValueError, match=r"finished already, and .*result\.json is the result of 'python"
        ):
            trained(name, tmp_path, resume=True, **changes)
        assert files(tmp_path) == before
    trained(name, tmp_path, seed=1)
    assert files(tmp_path) != before


def test_a_result_stays_until_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, write = "reinforce on an exact task", Training.write_result

    def written(training: Training, evaluation: klrl_envs.Evaluation) -> None:
        write(training, evaluation)
        raise Killed

    monkeypatch.setattr(Training, "write_result", written)
    with pytest.raises(Killed):
        trained(name, tmp_path)
    monkeypatch.undo()
    before = files(tmp_path)
    assert {"result.json", "policy.safetensors", CHECKPOINT} <= before.keys()
    with pytest.raises(ValueError, match="seed 0 and not 1"):
        trained(name, tmp_path, seed=1, resume=True)
    assert files(tmp_path) == before

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(klrl_envs, "evaluate", killed)
    with pytest.raises(Killed):
        trained(name, tmp_path, resume=True)
    assert files(tmp_path).items() >= {each: before[each] for each in ("result.json", *LINES)}.items()


@pytest.mark.parametrize("given", [None, 7])
def test_a_training_has_one_evaluation(
    given: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is killed then, and nothing is counted that was not written."""
    name, write = "reinforce on an exact task", Training.write_result

    def written(training: Training, evaluation: klrl_envs.Evaluation) -> None:
        write(training, evaluation)
        raise Killed

    monkeypatch.setattr(Training, "write_result", written)
    found = []
    for resume in (False, True, True):
        with pytest.raises(Killed):
            trained(name, tmp_path, resume=resume, evaluation_seed=given)
        found.append(klrl_envs.RunRecord.load(tmp_path / "result.json"))
    assert len({(each.evaluation.seed, each.score, each.kl, each.tokens) for each in found}) == 1
    assert {each.evaluation.fresh for each in found} == {given is None}
    assert found[0].evaluation.seed == 7 if given else found[0].evaluation.seed >= 1 << 32
    assert found[0].tokens == lines(tmp_path / "progress.jsonl")[-1]["tokens"]
    monkeypatch.undo()
    trained(name, tmp_path, resume=True, evaluation_seed=given)
    again = trained(name, tmp_path, evaluation_seed=given)
    assert given or again.seed != found[0].evaluation.seed, "another training has another draw"


def test_tokens_count_where_a_ledger_begins_part_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed without a ledger's file, then with one, then with it again, then with another."""
    name, note, noted = "reinforce on an exact task", Training.note, []

    def until(training: Training, **numbers: Any) -> None:
        note(training, **numbers)
        noted.append(training.tokens)
        if len(noted) == 3:
            raise Killed

    written = 0
    monkeypatch.setattr(Training, "note", until)
    for ledger in (None, "one.jsonl", "one.jsonl", "two.jsonl"):
        book = Book(None if ledger is None else str(tmp_path / ledger))
        monkeypatch.setattr(klrl_envs.ledger, "_book", book)
        for module in (klrl_envs.ledger, automaton_task.ledger):
            monkeypatch.setattr(module, "count", book.count)
        noted.clear()
        with pytest.raises(Killed):
            trained(name, tmp_path / "out", tokens=40_000, resume=True, checkpoint_seconds=1e9)
        written += book.counts().tokens
    monkeypatch.setattr(Training, "note", note)
    before = book.counts().tokens
    trained(name, tmp_path / "out", tokens=40_000, resume=True)
    written += book.counts().tokens - before
    record = klrl_envs.RunRecord.load(tmp_path / "out" / "result.json")
    assert written > 44_000 and record.budget == "declared"
    at_risk = 4 * 32 * klrl_envs.make_task("GridNavigation-v0").horizon
    assert written <= record.tokens <= written + at_risk


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "format": "klrl-checkpoint-2",
        "big": 1 << 100,
        "tuple": (0.9, None, True),
        "numbered": {0: {"step": torch.tensor(3.0)}, 1: {}},
        "array": np.arange(3),
        "list": [{"a": 0.1 + 0.2}, "text"],
    }
    path = tmp_path / CHECKPOINT
    save_state(state, path)
    found = load_state(path)
    assert {name: found[name] for name in ("big", "tuple", "list")} == {
        name: state[name] for name in ("big", "tuple", "list")
    }
    assert found["numbered"][0]["step"].item() == 3 and found["numbered"][1] == {}
    np.testing.assert_array_equal(found["array"], np.arange(3))
    assert [each.name for each in tmp_path.iterdir()] == [CHECKPOINT]
    one = torch.arange(1000.0)
    save_state({"format": "klrl-checkpoint-2", "some": [one, one, one.clone()]}, path)
    assert path.stat().st_size < 3 * one.nbytes, "what is there twice is written once"
    for found_one in load_state(path)["some"]:
        torch.testing.assert_close(found_one, one)
    save_state({"format": "another"}, path)
    with pytest.raises(ValueError, match="must have the format 'klrl-checkpoint-2', not 'another'"):
        load_state(path)


def test_what_is_read_does_not_hold_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, held = tmp_path / CHECKPOINT, []
    weights = torch.arange(8.0)
    save_state({"format": "klrl-checkpoint-2", "tensor": weights, "array": np.arange(8)}, path)
    opened = checkpoints.safe_open

    class Watched:
        """Hands out tensors whose memory is overwritten when the file is closed, as of a lost mapping."""

        def __init__(self, *args: Any) -> None:
            self._file = opened(*args)

        def __enter__(self) -> Watched:
            self._inner = self._file.__enter__()
            return self

        def __exit__(self, *args: Any) -> None:
            for tensor in held:
                tensor.zero_()
            self._file.__exit__(*args)

        def metadata(self) -> dict[str, str]:
            return self._inner.metadata()

        def get_tensor(self, name: str) -> torch.Tensor:
            held.append(self._inner.get_tensor(name).clone())
            return held[-1]

    monkeypatch.setattr(checkpoints, "safe_open", Watched)
    found = load_state(path)
    assert len(held) == 2
    torch.testing.assert_close(found["tensor"], weights)
    np.testing.assert_array_equal(found["array"], np.arange(8))


def test_a_file_is_synced_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    modes = []
    monkeypatch.setattr(
        checkpoints.os,
        "fsync",
        lambda number: modes.append(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE),
    )
    save_state({"format": "klrl-checkpoint-2"}, tmp_path / CHECKPOINT)
    assert modes == [os.O_RDWR]


@pytest.mark.parametrize("damage", ["cut", "empty", "no state"])
def test_a_damaged_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    save_state({"format": "klrl-checkpoint-2", "array": np.arange(100)}, path)
    whole = path.read_bytes()
    if damage == "no state":
        save_file({}, path, metadata={"state": "{"})
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged .*; remove it to begin anew"):
        trained("reinforce on an exact task", tmp_path, resume=True)
    assert path.is_file()


KILLED = {
    "an exact task": (14, "klrl/GridNavigation-v0", ("--tokens", "30000")),
    "a language model": (
        6,
        "klrl/Sentiment-v0",
        ("--train", "lora", "--tokens", "6000", "--batch", "16"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLED)
def test_a_process_that_is_killed_at_random_moments_ends_with_the_same_numbers(
    kind: str, tmp_path: Path
) -> None:
    """Twenty kills in all, from a process's start to its end: importing, restoring, learning, evaluating."""
    wanted, env_id, more = KILLED[kind]

    def command(out: str) -> list[str]:
        return [
            sys.executable, "-m", "agents.reinforce", "--env-id", env_id, *more,
            "--episodes", "32", "--evaluation-seed", "1", "--threads", "1", "--device", "cpu",
            "--checkpoint-seconds", "0.1", "--resume", "--out", str(tmp_path / out),
        ]  # fmt: skip

    def environment(out: str) -> dict[str, str]:
        return {**os.environ, "KLRL_LEDGER": str(tmp_path / f"{out}.jsonl"), "OMP_NUM_THREADS": "1"}

    def to_its_end(out: str) -> float:
        began = time.monotonic()
        subprocess.run(command(out), env=environment(out), cwd=ROOT, check=True, capture_output=True)
        return time.monotonic() - began

    def finished(out: str) -> bool:
        return (tmp_path / out / "result.json").exists() and not (tmp_path / out / CHECKPOINT).exists()

    whole, rng, kills, lives = to_its_end("whole"), np.random.default_rng(5), 0, 0
    while kills < wanted:
        lives += 1
        out = f"killed {lives}"
        while kills < wanted and not finished(out):
            process = subprocess.Popen(
                command(out), env=environment(out), cwd=ROOT, stderr=subprocess.DEVNULL
            )
            try:
                process.wait(float(rng.uniform(0, whole)))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
        if not finished(out):
            to_its_end(out)
        assert_same_run(tmp_path / "whole", tmp_path / out)
        record = klrl_envs.RunRecord.load(tmp_path / out / "result.json")
        counted = klrl_envs.ledger.read_ledger(tmp_path / f"{out}.jsonl").tokens
        assert (record.tokens, record.budget) == (counted, "counted"), "those of the killed processes, too"
        assert counted >= klrl_envs.RunRecord.load(tmp_path / "whole" / "result.json").tokens


def test_a_checkpoint_of_other_weights_is_refused() -> None:
    kept = {"layers.0.down": torch.zeros(1), "layers.0.up": torch.zeros(1)}
    check_names(kept, dict(kept))
    with pytest.raises(
        ValueError, match=r"holds 2 weights and this policy trains 1; only one has layers.0.up"
    ):
        check_names(kept, {"layers.0.down": torch.zeros(1)})
