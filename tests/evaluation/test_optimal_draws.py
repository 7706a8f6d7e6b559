"""Texts of pi*: as often as pi* says, after each prompt, and outside every budget."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import klrl_envs
from klrl_envs import draw_optimal, ledger
from klrl_envs.optima.optimum import optimum_of
from tests.agents.tiny import tiny_task


def test_texts_of_a_solved_optimum_come_as_often_as_it_says() -> None:
    task = tiny_task()
    texts = draw_optimal(task, np.zeros(40_000, dtype=np.int64), np.random.default_rng(0))
    counts = Counter(map(tuple, texts.tolist()))
    *table, start = np.exp(task.reference.rows(np.arange(4)))
    final = [0.0, 0.5, 1.0]
    weights = {(0, 0): start[0] * np.exp(final[0] / task.kl_coef)}
    for first in (1, 2):
        for second in range(3):
            reward = final[(first == 2) + (second == 2)]
            weights[first, second] = start[first] * table[first][second] * np.exp(reward / task.kl_coef)
    total = sum(weights.values())
    assert set(counts) == set(weights)
    for text, weight in weights.items():
        share = weight / total
        error = (share * (1 - share) / len(texts)) ** 0.5
        assert counts[text] / len(texts) == pytest.approx(share, abs=5 * error)


def test_each_prompt_gets_its_own_texts() -> None:
    task = klrl_envs.make_task("Arithmetic-v0")
    prompts = np.repeat(np.arange(4), 300)
    texts = draw_optimal(task, prompts, np.random.default_rng(0))
    whole = np.concatenate([task.padded_prompts[prompts], texts], axis=1)
    asked, _, written = zip(*(task.text(row).partition(":") for row in whole), strict=True)
    sums = [str(sum(map(int, question.split("=")[0].split("+")))) for question in asked]
    right = [text == answer for text, answer in zip(written, sums, strict=True)]
    best = optimum_of(task)
    assert np.mean(right) == pytest.approx(best.expected_reward, abs=0.12)


def test_rejection_s_texts_are_padded_and_better_than_pi0_s() -> None:
    task = klrl_envs.make_task("Sentiment-v0", kl_coef=0.5, horizon=6)
    told: list[int] = []
    texts = draw_optimal(task, np.arange(400), np.random.default_rng(0), progress=told.append)
    assert texts.shape == (400, 6)
    assert sum(told) == 400 and len(told) > 1
    whole = np.concatenate([task.padded_prompts[np.arange(400)], texts], axis=1)
    with ledger.counting_as("certify"):
        rewards = task.score(whole, task.lengths(whole))[0]
    plain = klrl_envs.evaluate("reference", "klrl/Sentiment-v0", horizon=24, episodes=512, seed=0)
    assert rewards.mean() > plain.expected_reward.upper


def test_nobody_is_charged_for_them() -> None:
    before = ledger.counts().total(purpose="training")
    draw_optimal(klrl_envs.make_task("Keywords-v0"), np.zeros(8, dtype=np.int64), np.random.default_rng(0))
    assert ledger.counts().total(purpose="training") == before


@pytest.mark.parametrize("task_id", ["GridNavigation-v0", "Dialogue-v0"])
def test_tokens_that_are_no_episode_alone_are_refused(task_id: str) -> None:
    with pytest.raises(ValueError, match="random beside its tokens"):
        draw_optimal(klrl_envs.make_task(task_id), np.zeros(2, dtype=np.int64), np.random.default_rng(0))
