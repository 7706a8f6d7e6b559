"""TRL: its rewards are those of the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.integrations.trl import as_reward_fn
from klrl_envs.registry import make_task
from tests.playing import play

pytestmark = pytest.mark.slow

EXACT = [row.gym_id for row in klrl_envs.REGISTRY if "exact" in row.tags and "grid" not in row.tags]


def test_rewards_for_trl_are_those_of_the_environment() -> None:
    reward = as_reward_fn("klrl/Keywords-v0")
    task = make_task("Keywords-v0")
    rng = np.random.default_rng(0)
    vocabulary = task.vocabulary
    env = gym.make("klrl/Keywords-v0")
    texts, paid = [], []
    keywords = [vocabulary.encode(word)[0] for word in task.source.arguments["keywords"]]  # type: ignore[union-attr]
    choices = np.array([*keywords, task.end_token, vocabulary.encode("the")[0]])
    for _ in range(20):
        env.reset(seed=0)
        total = 0.0
        for _ in range(task.horizon):
            token = rng.choice(choices)
            _, step_reward, terminated, _, info = env.step(token)
            total += float(step_reward)
            if terminated:
                break
        texts.append(info["text"])
        paid.append(total)
    assert reward([""] * 20, texts) == pytest.approx(paid)
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward([[{"role": "user", "content": "write"}]] * 20, chats, other=[1] * 20) == pytest.approx(paid)
    assert reward([""], ["thisisnoword"]) == [0.0]
    assert reward([], []) == []
    assert reward.kl_coef == task.kl_coef and reward.__name__ == "klrl_keywords_v0"


def test_rewards_for_trl_average_over_random_starts() -> None:
    reward = as_reward_fn("klrl/GridNavigation-v0", size=3, horizon=4)
    task = make_task("GridNavigation-v0", size=3, horizon=4)
    actions = [0, 2, 0, 1]
    env = TokenVectorEnv(task, 4000, autoreset_mode="Disabled")
    env.reset(seed=0)
    total = np.zeros(4000)
    for action in actions:
        total += env.engine.step(np.full(4000, action), ~env.engine.done).reward
    text = " ".join(task.vocabulary.token_string(action) for action in actions)
    assert reward([""], [text])[0] == pytest.approx(total.mean(), abs=4 * total.std() / 4000**0.5)
    with pytest.raises(ValueError, match="stochastic"):
        as_reward_fn("klrl/GridNavigation-v0", slip=0.1)
    with pytest.raises(ValueError, match="pair up"):
        reward(["", ""], ["forward"])


@pytest.mark.parametrize("env_id", EXACT)
def test_rewards_for_trl_are_those_of_every_exact_environment(env_id: str) -> None:
    """Texts of the optimum and of the reference, from several prompts; of a noisy reward the mean is paid."""
    noiseless = {"sigma": 0.0} if "Noise" in env_id else {}
    task: Any = make_task(env_id, prompts="evaluation", **noiseless)
    engine, paid = play(task, 16, seed=3, reference_in_between=True)
    prompts = [task.text(row) for row in engine.tokens[:, : task.prompt_length]]
    texts = [task.text(row) for row in engine.written()]
    reward = as_reward_fn(env_id, prompts="evaluation")
    assert reward(prompts, texts) == pytest.approx(paid.tolist(), abs=1e-12)
    assert np.isfinite(reward.reward_range).all()
    if task.prompt_length:
        with pytest.raises(ValueError, match="is none of the"):
            reward(["no such prompt"], texts[:1])


def test_the_public_name() -> None:
    assert klrl_envs.as_reward_fn is as_reward_fn


def test_texts_are_recorded_without_kl(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    reward = as_reward_fn("klrl/Keywords-v0", record=path)
    word = reward.task.vocabulary.token_string(5)
    paid = [*reward(["", ""], [word, f"{word} {word}"]), *reward([""], [word])]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["task_reward"] for line in lines] == paid
    assert [line["tokens"] for line in lines] == [2, 5, 7], "with the end token of each"
    assert [line["episode"] for line in lines] == [0, 1, 2] and lines[0]["text"] == word
    assert all(line["k1"] is None for line in lines)
    with pytest.raises(FileNotFoundError, match="is not there"):
        as_reward_fn("klrl/Keywords-v0", record=tmp_path / "none" / "x.jsonl")
