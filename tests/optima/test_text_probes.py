"""Probes of neural tasks: texts that know nothing earn little, on every one that is registered."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from klrl_envs import Prompts, TextTask
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.text_probes import probe_gains
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.registry import REGISTRY

NEURAL = [row.gym_id for row in REGISTRY if "neural" in row.tags]
WITHOUT_ANSWERS = ["klrl/Sentiment-v0"]
WORDS = (".", "a", "b", "c")


@pytest.mark.slow
@pytest.mark.parametrize("env_id", NEURAL)
def test_probes_earn_at_most_half_of_what_the_optimum_does(env_id: str) -> None:
    task = evaluation_task(env_id, {})
    gains = probe_gains(task, optimum_of(task), np.random.default_rng(0))
    assert max(gains.values()) <= 0.5, gains
    assert ("answer" not in gains) == (env_id in WITHOUT_ANSWERS)


class Share:
    """Pays the share of b among the words behind the prompt, which is a word."""

    answers = ("b b", "c", "b b")

    def __call__(self, tokens: Any, lengths: Any, texts: Sequence[str]) -> tuple[Any, dict[str, Any]]:
        written = [text.split(" ")[1:] for text in texts]
        return np.array([words.count("b") / 4 for words in written]), {}


def share_task(prompts: Sequence[Sequence[int]]) -> TextTask:
    return TextTask(
        reference=UniformReference(4), vocabulary=WordVocabulary(WORDS, 0), end_token=0, horizon=4,
        kl_coef=0.5, reward_range=(0.0, 1.0), reward_fingerprint="0", score_texts=Share(),
        prompts=Prompts.padded(prompts, 0),
    )  # fmt: skip


def test_what_probes_earn_is_the_share_of_what_the_optimum_gains() -> None:
    best: Any = SimpleNamespace(reference_value=0.25, expected_reward=0.75)
    gains = probe_gains(share_task([[2], [1]] * 500), best, np.random.default_rng(0))
    of_reward = {name: gain * 0.5 + 0.25 for name, gain in gains.items()}
    assert of_reward["repeat"] == 1.0 and of_reward["end"] == 0.0
    assert of_reward["answer"] == 0.5, "the commonest, b b, and then the end"
    assert of_reward["copy"] == pytest.approx((1 / 4 + 0) / 2)
    # b at t counts where none of the t - 1 tokens before was the end
    assert of_reward["uniform"] == pytest.approx(sum(0.75**t for t in range(4)) / 16, abs=0.02)
    with pytest.raises(ValueError, match="earns no more than pi0"):
        probe_gains(share_task([[2]]), SimpleNamespace(reference_value=0.3, expected_reward=0.3), None)  # type: ignore[arg-type]
