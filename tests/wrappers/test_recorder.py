"""Recorder and VectorRecorder: a line an episode."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.ledger import counts
from klrl_envs.wrappers import (
    DelayedReward,
    Episode,
    KLReward,
    RandomStart,
    Recorder,
    VectorKLReward,
    VectorRecorder,
)
from tests.wrappers.wrapped import END, SIZE, random_row, text_env


def test_recorder_writes_a_line_an_episode(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = KLReward(text_env(), 0.5, random_row())
    env = Recorder(env, str(path))
    env.reset(seed=11)
    paid = sum(env.step(action)[1] for action in (3, END))
    env.reset()
    env.step(1)
    env.reset()  # the unfinished episode leaves no line
    for action in (1, 2, 3, 4):
        env.step(action)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["episode"] for line in lines] == [0, 1]
    first, second = lines
    assert first["seed"] == 11 and second["seed"] is None and first["prompt"] is None
    assert first["text"] == "t3" and second["text"] == "t1 t2 t3 t4"
    assert first["return"] == pytest.approx(paid) and first["length"] == 2
    assert first["task_reward"] == pytest.approx(1.3)
    assert first["return"] == pytest.approx(first["task_reward"] - 0.5 * first["k1"])
    assert first["seconds"] >= 0 and first["log_prob"] < 0 and "k2" not in first
    assert first["kl"] > 0 and first["lane"] is None
    assert (first["tokens"], second["tokens"]) == (2, 7), "the token of the unfinished episode counts"
    with pytest.raises(FileNotFoundError, match="is not there"):
        Recorder(text_env(), str(tmp_path / "none" / "x.jsonl"))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_recorder_counts_each_episode_once(tmp_path, mode):
    path = tmp_path / "episodes.jsonl"
    inner = TokenVectorEnv(text_env().unwrapped.task, 3, autoreset_mode=mode)
    inner = VectorKLReward(inner, 0.5, random_row())
    env = VectorRecorder(inner, str(path))
    env.reset(seed=20)
    rng = np.random.default_rng(1)
    total, ends, taken = 0.0, 0, 0
    tokens: list[int] = []
    before = counts()
    over = np.zeros(3, dtype=bool)
    for _ in range(41):
        _, rewards, terminated, *_ = env.step(rng.integers(0, SIZE, 3))
        total += rewards.sum()
        taken += 3 - int(over.sum())
        tokens += [taken] * int(terminated.sum())
        over = terminated if mode is AutoresetMode.NEXT_STEP else over
        ends += int(terminated.sum())
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == ends > 10
    assert [line["episode"] for line in lines] == list(range(ends))
    assert [line["tokens"] for line in lines] == tokens
    assert tokens[-1] <= (counts() - before).tokens
    for line in lines:
        assert line["return"] == pytest.approx(line["task_reward"] - 0.5 * line["k1"])
        written = [int(word[1:]) for word in line["text"].split()]
        assert len(written) == line["length"] - (
            line["task_reward"] != pytest.approx(sum(written) / 10 + 1) or (len(written) < 4)
        )
        assert line["task_reward"] == pytest.approx(sum(written) / 10 + 1)
    first_of_lane = {lane: next(line for line in lines if line["lane"] == lane) for lane in range(3)}
    assert [line["seed"] for line in first_of_lane.values()] == [20, 21, 22]
    assert sum(line["seed"] is not None for line in lines) == 3


def test_without_the_policy_nobody_knows_the_kl(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = Recorder(DelayedReward(text_env(), 1), str(path))
    env.reset(seed=0)
    paid = sum(env.step(action)[1] for action in (3, 2, END))
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert line["k1"] is None and line["kl"] is None
    assert line["task_reward"] == pytest.approx(1.5) and line["return"] == pytest.approx(paid)


def test_tokens_are_those_of_the_environment_drawn_ones_too(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = Recorder(RandomStart(text_env(horizon=6), 2), str(path))
    env.reset(seed=0)
    env.step(END)
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["tokens"], line["length"]) == (env.unwrapped.engine.taken, 1) and line["tokens"] >= 3


def test_a_line_has_one_form_whoever_writes_it():
    plain = Episode(episode=3, tokens=9, text="t1", task_reward=1.0, paid=0.5, length=2)
    line = plain.line()
    assert line["return"] == 0.5 and "paid" not in line and "metrics" not in line
    gold = Episode(**{**plain.__dict__, "metrics": {"gold": np.float64(2.0), "text": "other"}}).line()
    assert gold == {**line, "gold": 2.0}, "a metric does not take the place of a field"
    assert list(line) == list(gold)[:-1]
