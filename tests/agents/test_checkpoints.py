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
from safetensors.numpy import load_file

import klrl_envs
from agents.checkpoints import load_state, save_state
from agents.run import CHECKPOINT, Training

ROOT = Path(__file__).resolve().parents[2]
COMMON = {"episodes": 32, "evaluation_seed": 1, "threads": 1, "device": "cpu", "checkpoint_seconds": 0.0}
TRAININGS = {
    "ppo on an exact task": ("ppo", "PPO", {"env_id": "klrl/DiagnosticNoise-v0", "tokens": 4_000}),
    "reinforce on an exact task": (
        "reinforce", "Reinforce", {"env_id": "klrl/GridNavigation-v0", "tokens": 4_000}
    ),
    "ppo with heads": (
        "ppo",
        "PPO",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "minibatch": 16},
    ),
    "ppo with all weights": (
        "ppo",
        "PPO",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "minibatch": 8, "train": "all"},
    ),
    "reinforce with factors": (
        "reinforce",
        "Reinforce",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "train": "lora", "rank": 2},
    ),
}  # fmt: skip


class Killed(BaseException):
    """In place of a signal."""


def trained(name: str, out: Path, **changes: Any) -> klrl_envs.Evaluation:
    agent, prefix, given = TRAININGS[name]
    module = importlib.import_module(f"agents.{agent}")
    return module.train(getattr(module, f"{prefix}Arguments")(**COMMON | given | changes, out=str(out)))


def lines(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


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


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "format": "klrl-checkpoint-1",
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
    save_state({"format": "another"}, path)
    with pytest.raises(ValueError, match="must have the format 'klrl-checkpoint-1', not 'another'"):
        load_state(path)


@pytest.mark.slow
def test_a_process_that_is_killed_at_random_moments_ends_with_the_same_numbers(tmp_path: Path) -> None:
    def command(out: str) -> list[str]:
        return [
            sys.executable, "-m", "agents.reinforce", "--env-id", "klrl/GridNavigation-v0",
            "--tokens", "30000",
            "--episodes", "32", "--evaluation-seed", "1", "--threads", "1", "--device", "cpu",
            "--checkpoint-seconds", "0.1", "--resume", "--out", str(tmp_path / out),
        ]  # fmt: skip

    def environment(out: str) -> dict[str, str]:
        return {**os.environ, "KLRL_LEDGER": str(tmp_path / f"{out}.jsonl"), "OMP_NUM_THREADS": "1"}

    subprocess.run(command("whole"), env=environment("whole"), cwd=ROOT, check=True, capture_output=True)
    rng, progress = np.random.default_rng(5), tmp_path / "killed" / "progress.jsonl"
    kills = 0
    while kills < 4:
        size = progress.stat().st_size if progress.exists() else 0
        process = subprocess.Popen(
            command("killed"), env=environment("killed"), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and (not progress.exists() or progress.stat().st_size == size):
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.3)))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    subprocess.run(command("killed"), env=environment("killed"), cwd=ROOT, check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    record = klrl_envs.RunRecord.load(tmp_path / "killed" / "result.json")
    counted = klrl_envs.ledger.read_ledger(tmp_path / "killed.jsonl").tokens
    assert (record.tokens, record.budget) == (counted, "counted"), "those of the killed processes, too"
    assert counted > klrl_envs.RunRecord.load(tmp_path / "whole" / "result.json").tokens
