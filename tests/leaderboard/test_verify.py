"""Verified rows: what an entry's policies are worth, measured here, against what it claims."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest

import klrl_envs
from agents.reinforce import ReinforceArguments, train
from klrl_envs.networks.table import Table
from klrl_envs.results.entry import Entry, entry_path, merge
from klrl_envs.results.guard import entry_interval
from klrl_envs.results.record import RunRecord
from leaderboard.contained import Limits, evaluate_file
from leaderboard.verify import main, policies_folder
from tests.networks.policies import GRID

COMMAND = f"python -m agents.reinforce --env-id {GRID} --tokens 4000 --seed {{seed}} --out {{out}}"
GAP = klrl_envs.optimum("klrl/GridNavigation-v0").gap or 0.0
"""About J* - J0 of GridNavigation-v0."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a short training."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        out = str(folder / str(seed))
        train(ReinforceArguments(tokens=4_000, episodes=1024, out=out, seed=seed, threads=1))
    return folder


def entry_of(runs: Path, seeds: tuple[int, ...] = (0, 1), **changes: Any) -> Entry:
    """The entry of runs, as if their commit were clean; ``changes`` are of its first seed."""
    records = [RunRecord.load(runs / str(seed) / "result.json") for seed in seeds]
    records = [record.model_copy(update={"commit": "0" * 40}) for record in records]
    records[0] = RunRecord.model_validate({**records[0].plain(), **changes})
    interval = entry_interval(records[0].env_id, records)
    return merge(records, command=COMMAND, tier="submitted", score_interval=interval)


def written(entry: Entry, folder: Path, policies: dict[int, bytes], suffix: str = ".safetensors") -> Path:
    """The entry's file, and its policies where they belong."""
    path = entry_path(entry.env_id, entry.agent.name, folder)
    entry.save(path)
    beside = policies_folder(entry, folder)
    beside.mkdir(parents=True, exist_ok=True)
    for seed, data in policies.items():
        (beside / f"seed-{seed}{suffix}").write_bytes(data)
    return path


def left(runs: Path) -> dict[int, bytes]:
    return {seed: (runs / str(seed) / "policy.safetensors").read_bytes() for seed in (0, 1)}


@pytest.mark.slow
def test_an_honest_entry_is_verified(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim = entry_of(runs)
    path = written(claim, tmp_path, left(runs))
    assert main([str(path), "--episodes", "1024"]) == 0
    said = capsys.readouterr().out
    assert "seed 1: claimed score" in said and "verified, score" in said
    entry = Entry.load(path)
    assert entry.tier == "verified" and [seed.seed for seed in entry.seeds] == [0, 1]
    for ours, theirs in zip(entry.seeds, claim.seeds):
        assert ours.evaluation is not None and theirs.evaluation is not None
        assert ours.evaluation.fresh and ours.evaluation.seed != theirs.evaluation.seed
        assert ours.score == pytest.approx(theirs.score, abs=1e-9), "both are computed over all states"
        assert (ours.tokens, ours.seconds) == (theirs.tokens, theirs.seconds)
    # again: other draws, the same tier
    assert main([str(path), "--episodes", "1024"]) == 0
    assert Entry.load(path).tier == "verified" and Entry.load(path) != entry


def test_a_claim_ten_errors_too_high_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = entry_of(runs).seeds[0]
    assert honest.evaluation is not None and honest.score is not None and honest.score_interval is not None
    assert honest.evaluation.exact, "the slightest boast is found"
    more = 1e-3 * GAP
    lower, upper = honest.score_interval
    claim = entry_of(
        runs,
        objective=honest.objective + more,
        expected_reward=honest.expected_reward + more,
        regret=honest.regret - more,
        score=honest.score + more / GAP,
        score_interval=(lower + more / GAP, upper + more / GAP),
    )
    path = written(claim, tmp_path, left(runs))
    before = path.read_bytes()
    assert main([str(path), "--episodes", "1024"]) == 1
    assert path.read_bytes() == before
    (line,) = capsys.readouterr().err.splitlines()
    assert "not verified: seed 0 claims objective" in line and "its policy was measured at" in line


@pytest.mark.slow
def test_another_policy_than_the_claimed_one_is_found_out(runs: Path, tmp_path: Path) -> None:
    path = written(entry_of(runs), tmp_path, {})
    task = klrl_envs.evaluation_task(GRID)
    table = Table(task)
    table.values[:, 0] += 40.0
    klrl_envs.save_policy(table, tmp_path / "other.safetensors")
    given = [f"--policy={seed}={tmp_path / 'other.safetensors'}" for seed in (0, 1)]
    assert main([str(path), "--episodes", "256", *given]) == 1
    assert Entry.load(path).tier == "submitted"


@pytest.mark.slow
def test_onnx_policies_are_verified(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from klrl_envs.networks.files import network_of
    from tests.networks.graphs import residual_model

    task = klrl_envs.evaluation_task(GRID)
    models = {
        seed: residual_model(network_of(data, task)).SerializeToString()  # type: ignore[arg-type]
        for seed, data in left(runs).items()
    }
    path = written(entry_of(runs), tmp_path, models, ".onnx")
    assert main([str(path), "--episodes", "1024"]) == 0
    assert Entry.load(path).tier == "verified"


@pytest.mark.slow
def test_every_seed_needs_one_policy(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = left(runs)
    path = written(entry_of(runs), tmp_path, {0: policies[0]})
    spare = runs / "1" / "policy.safetensors"
    for more, message in (
        ((), "seeds [1] have no policy: there is no"),
        ((f"--policy=7={spare}",), "--policy names seed 7, and the entry has the seeds [0, 1]"),
    ):
        assert main([str(path), *more]) == 1
        assert message in capsys.readouterr().err
    assert main([str(path), "--episodes", "256", f"--policy=1={spare}"]) == 0
    written(entry_of(runs), tmp_path, {0: policies[0], 1: b"0" * 4_000_001})
    assert main([str(path)]) == 1
    assert "has 4,000,001 bytes; policies of more than 4,000,000 lie elsewhere" in capsys.readouterr().err
    written(entry_of(runs), tmp_path, policies)
    written(entry_of(runs), tmp_path, {1: b""}, ".onnx")
    assert main([str(path)]) == 1
    assert "seed 1 must have one policy, not" in capsys.readouterr().err


def test_entries_that_break_a_rule_are_not_verified(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = entry_of(runs).model_copy(update={"task_sha256": "a" * 64})
    path = written(entry, tmp_path, left(runs))
    assert main([str(path)]) == 1
    assert "task_sha256 is aaaa" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing--there.json")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_tier_that_was_higher_stays(runs: Path, tmp_path: Path) -> None:
    entry = entry_of(runs).model_copy(update={"tier": "reproduced"})
    path = written(entry, tmp_path, left(runs))
    assert main([str(path), "--episodes", "256"]) == 0
    assert Entry.load(path).tier == "reproduced"


@pytest.mark.slow
def test_what_is_no_policy_ends_in_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(entry_of(runs), tmp_path, {})
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    (tmp_path / "vast.safetensors").write_bytes(b"\xff" * 8 + b"{" * 100)
    for name, message in (("pipe", "is no regular file"), ("vast", "is no safetensors file")):
        policies = [f"--policy={seed}={tmp_path / name}.safetensors" for seed in (0, 1)]
        assert main([str(path), *policies]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line and f"{name}.safetensors" in line


@pytest.mark.slow
@pytest.mark.parametrize("model", ["endless_model", "greedy_model"])
def test_a_model_that_takes_for_ever_or_all_memory_is_stopped(model: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from tests.networks import graphs

    path = tmp_path / "policy.onnx"
    path.write_bytes(getattr(graphs, model)(4).SerializeToString())
    message = {"endless_model": "took more than 5 s", "greedy_model": "the ONNX model failed|does not take"}[
        model
    ]
    seconds = 5 if model == "endless_model" else 60
    with pytest.raises(ValueError, match=message) as caught:
        evaluate_file(path, GRID, episodes=8, limits=Limits(seconds=seconds, memory_gb=4))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_memory_that_an_evaluation_may_not_take_is_not_taken(runs: Path) -> None:
    path = runs / "0" / "policy.safetensors"
    with pytest.raises(ValueError, match=r"policy\.safetensors: "):
        evaluate_file(path, GRID, episodes=8, limits=Limits(seconds=60, memory_gb=0.3))
    found = evaluate_file(path, GRID, episodes=64, limits=Limits(seconds=60, memory_gb=8))
    assert found.evaluation.fresh and found.evaluation.log_probs == "checked"


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["sb3_ppo", "q_learning"])
def test_the_other_agents_policies_are_verified(agent: str, tmp_path: Path) -> None:
    if agent == "sb3_ppo":
        pytest.importorskip("stable_baselines3")
    module = importlib.import_module(f"agents.{agent}")
    kind = {"sb3_ppo": "SB3Arguments", "q_learning": "QArguments"}[agent]
    for seed in (0, 1):
        out = str(tmp_path / "runs" / str(seed))
        module.train(
            getattr(module, kind)(env_id=GRID, tokens=7_000, episodes=512, out=out, seed=seed, threads=1)
        )
    path = written(entry_of(tmp_path / "runs"), tmp_path, left(tmp_path / "runs"))
    assert main([str(path), "--episodes", "512"]) == 0
    assert Entry.load(path).tier == "verified"


@pytest.mark.parametrize("kind", ["deep", "nan", "list", "folder", "link"])
def test_an_entry_that_is_none_ends_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "GridNavigation-v0--toy.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_bytes({"deep": b"[" * 10_000_000, "nan": b'{"score": NaN}', "list": b"[]"}[kind])
    assert main([str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "not verified: " in line and str(path) in line and len(line) < 600
