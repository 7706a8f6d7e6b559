"""Stable-Baselines3 and TRL where the environment writes, too."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klrl_envs.integrations.trl import RewardFunction
from klrl_envs.ledger import counts
from klrl_envs.tasks.conversation import read_conversation
from tests.playing import play
from tests.talk import ASK, HELLO, LEFT, NO, RIGHT, YES, guessing_game


def conversations(lanes: int = 200) -> tuple[Any, list[list[int]], np.ndarray, list[list[bool]]]:
    """The task, texts of both sides in tokens, what was paid for each, and whose tokens they are."""
    task = guessing_game(horizon=5).task
    engine, paid = play(task, lanes, seed=2, reference_in_between=True)
    lengths = engine.length.tolist()
    rows = [row[:length] for row, length in zip(engine.tokens.tolist(), lengths, strict=True)]
    masks = [row[:length] for row, length in zip(engine.agent_mask().tolist(), lengths, strict=True)]
    return task, rows, paid, masks


def test_conversations_are_read_as_they_were_paid() -> None:
    task, rows, paid, masks = conversations()
    reward = RewardFunction(task, "game")
    texts = [task.vocabulary.decode(row) for row in rows]
    before = counts()
    assert reward([""] * len(texts), texts) == pytest.approx(paid.tolist(), abs=1e-12)
    assert (counts() - before).tokens == sum(map(sum, masks))
    assert reward.env_mask(rows) == [list(map(int, mask)) for mask in masks]
    # what is said first may stand in the prompt
    assert reward(["hello"] * len(texts), [text.removeprefix("hello ") for text in texts]) == pytest.approx(
        paid.tolist(), abs=1e-12
    )


def test_what_is_missing_is_averaged_and_what_is_wrong_is_refused() -> None:
    task = guessing_game(horizon=5).task
    read = read_conversation(task, [HELLO, ASK, YES, RIGHT])
    assert read.reward == pytest.approx(0.8 - 0.05) and read.own == (False, True, False, True)
    assert read_conversation(task, [HELLO, LEFT, YES, NO, NO]).own == (False, True, False)
    assert read_conversation(task, [HELLO, NO]).reward == 0.0
    assert read_conversation(task, [ASK]).reward == pytest.approx(-0.05)
    with pytest.raises(ValueError, match="a reply is another than it gives"):
        read_conversation(task, [HELLO, ASK, HELLO, RIGHT])
    reward = RewardFunction(task, "game")
    least = task.automaton.range_within(5)[0]
    assert reward([""], ["hello ask hello right"]) == [least]
    assert reward.task.token_counts(["", ""], ["hello ask yes right", "hello ask hello"]).tolist() == [2, 5]


def test_a_recorded_conversation_counts_the_agents_tokens(tmp_path: Path) -> None:
    task = guessing_game(horizon=5).task
    reward = RewardFunction(task, "game", tmp_path / "episodes.jsonl")
    reward([""], ["hello ask yes right yes"])
    (line,) = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert line["length"] == line["tokens"] == 2 and line["text"] == "hello ask yes right yes"
    assert line["task_reward"] == pytest.approx(0.95)


@pytest.mark.slow
def test_stable_baselines_pays_kl_for_the_agents_tokens_alone(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    import torch
    from stable_baselines3 import PPO

    from klrl_envs.envs.vector_env import TokenVectorEnv
    from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv

    lanes = TokenVectorEnv(guessing_game().task, 8, autoreset_mode="SameStep", features=True)
    env = SB3VecEnv(lanes)
    model = PPO(
        "MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0, learning_rate=0.0, gamma=1.0,
        ent_coef=0.0, normalize_advantage=False,
    )  # fmt: skip
    before = counts()
    model.learn(32 * 8, callback=KLCallback(record=tmp_path / "episodes.jsonl"))
    assert (counts() - before).tokens == 32 * 8, "a token is an action"
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert sum(line["length"] for line in lines) <= 32 * 8 and len(lines) > 20
    # after the training the buffer is flat already
    observations = torch.as_tensor(model.rollout_buffer.observations)
    actions = torch.as_tensor(model.rollout_buffer.actions).flatten()
    with torch.no_grad():
        _, log_probs, _ = model.policy.evaluate_actions(observations, actions)
    reference = observations[:, -6:].gather(1, actions[:, None].long())[:, 0]
    total = float((log_probs - reference).sum())
    unfinished = total - sum(line["k1"] for line in lines)
    assert abs(unfinished) < 8 * 4 * 5.0
    paid = model.rollout_buffer.rewards.sum()
    rewards = sum(line["task_reward"] for line in lines)
    assert paid + 0.3 * total == pytest.approx(rewards, abs=8 * 4 * 0.05)
    for line in lines:
        assert line["return"] == pytest.approx(line["task_reward"] - 0.3 * line["k1"], abs=1e-6)
        assert "environment_tokens" not in line
