"""Topic: likelihood and similarity, token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.tasks.topic import topic_task
from tests.oracles import Text, assert_exact, letter_reference, paid_for


@pytest.mark.parametrize("kl_coef", [0.1, 1.0])
@pytest.mark.parametrize("end_token", [0, None])
def test_topic_pays_each_token_for_likelihood_and_similarity(kl_coef: float, end_token: int | None) -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    target = np.array([0.8, -0.6])
    task = topic_task(
        letter_reference("$abc", end_token),
        vectors,
        target,
        kl_coef=kl_coef,
        horizon=4,
        likelihood=0.4,
        similarity=1.5,
    )

    def reward(text: Text, log_probs: list[float]) -> float:
        return math.fsum(
            0.4 * math.exp(log_prob) + 1.5 * float(vectors[token] @ target)
            for token, log_prob in zip(text, log_probs, strict=True)
            if token != end_token
        )

    assert_exact(task, reward)


def test_topic_prefers_its_own_words() -> None:
    music = paid_for("Topic-v0", ["the", "soundtrack", "score", "<end>"])[0]
    war = paid_for("Topic-v0", ["the", "military", "army", "<end>"])[0]
    assert music > war + 0.5
    assert paid_for("Topic-v0", ["<end>"])[0] == 0
    other = paid_for("Topic-v0", ["the", "military", "army", "<end>"], topic="war")[0]
    assert other > war + 0.5
