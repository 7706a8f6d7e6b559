"""Wrappers and recorders where the environment writes, too: it pays no KL and counts as nobody's token."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.wrappers import KLReward, Recorder, StateIndex, VectorKLReward, VectorRecorder
from tests.talk import ASK, LEFT, NO, RIGHT, guessing_game

ROWS = np.log(np.random.default_rng(7).dirichlet(np.ones(6), size=7))


def by_last_token(observations: np.ndarray) -> np.ndarray:
    """A policy that looks at the last token, whoever wrote it."""
    lengths = (observations != 6).sum(axis=1)
    return ROWS[np.where(lengths > 0, observations[np.arange(len(observations)), lengths - 1], 6)]


def test_only_the_agents_tokens_pay_kl(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    env = Recorder(KLReward(guessing_game(), 0.5, by_last_token), str(path))
    table = env.unwrapped.task.reference.table
    observation, _ = env.reset(seed=4)
    known, paid, task_reward = 0.0, 0.0, 0.0
    for action in (NO, ASK, RIGHT):
        last = observation[observation != 6][-1]
        observation, reward, terminated, _, info = env.step(action)
        ratio = ROWS[last, action] - table[last, action]
        assert info["k1"] == pytest.approx(ratio) and info["log_prob"] == pytest.approx(ROWS[last, action])
        assert info["kl"] == pytest.approx(np.exp(ROWS[last]) @ (ROWS[last] - table[last]))
        assert reward == pytest.approx(info["task_reward"] - 0.5 * ratio)
        known, paid, task_reward = known + ratio, paid + reward, task_reward + info["task_reward"]
    assert terminated
    (line,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert line["length"] == line["tokens"] == 3 and line["k1"] == pytest.approx(known)
    assert line["return"] == pytest.approx(paid) and line["task_reward"] == pytest.approx(task_reward)
    assert "environment_tokens" not in line and len(line["text"].split()) > 5


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_lanes_pay_and_record_alike(tmp_path: Path, mode: AutoresetMode) -> None:
    path = tmp_path / "episodes.jsonl"
    inner = TokenVectorEnv(guessing_game().task, 4, autoreset_mode=mode)
    env = VectorRecorder(VectorKLReward(inner, 0.5, by_last_token), str(path))
    observations, _ = env.reset(seed=2)
    rng, table = np.random.default_rng(0), inner.task.reference.table
    sums, lengths, known = np.zeros(4), np.zeros(4, dtype=int), []
    for _ in range(50):
        going = ~inner.engine.done
        last = observations[np.arange(4), (observations != 6).sum(axis=1) - 1]
        actions = rng.choice([ASK, NO, LEFT, RIGHT], size=4)
        observations, _, terminated, _, _ = env.step(actions)
        sums += np.where(going, ROWS[last, actions] - table[last, actions], 0.0)
        lengths += going
        for lane in np.flatnonzero(terminated & going):
            known.append((lane, lengths[lane], sums[lane]))
            sums[lane], lengths[lane] = 0.0, 0
        if mode is AutoresetMode.DISABLED and terminated.any():
            observations, _ = env.reset(options={"reset_mask": terminated})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == len(known) > 20
    for line, (lane, length, nats) in zip(lines, known, strict=True):
        assert (line["lane"], line["length"]) == (lane, length) and line["k1"] == pytest.approx(nats)
        assert "environment_tokens" not in line


def test_the_index_is_that_of_the_state_after_the_reply() -> None:
    env = StateIndex(guessing_game())
    index, _ = env.reset(seed=0)
    engine = env.unwrapped.engine
    assert index == (0 * 13 + 0) * 7 + 0 and engine.context[0] == 0, "after the greeting"
    index, *_ = env.step(ASK)
    assert index == (1 * 13 + engine.state[0]) * 7 + engine.context[0]
    assert engine.state[0] in (1, 2) and engine.context[0] == engine.tokens[0, engine.length[0] - 1]
