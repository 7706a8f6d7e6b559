"""The model of the reward: it finds an additive reward, and says the same on the way as at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

import klrl_envs
from agents.networks.reward_model import RewardModel, logit, ridge
from klrl_envs.networks.words import WordEvidence, read_words

WORDS = [f"w{number}" for number in range(40)]


def drawn(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(4, 16))) for _ in range(count)]


def additive(texts: list[str], power: float) -> NDArray[np.float64]:
    """A reward that words and a few pairs add to, each once a text."""
    rng = np.random.default_rng(7)
    weight = dict(zip(WORDS, rng.normal(size=len(WORDS)), strict=True))
    pairs = {(WORDS[place], WORDS[place + 1]): 2.0 for place in range(0, 40, 4)}
    sums = [
        sum(weight[word] for word in set(text.split()))
        + sum(pairs.get(pair, 0.0) for pair in set(zip(text.split(), text.split()[1:])))
        for text in texts
    ]
    words = np.array([len(text.split()) for text in texts])
    return 1 / (1 + np.exp(-(np.array(sums) / words**power + 0.3)))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_it_recovers_an_additive_reward_and_how_length_counts(power: float) -> None:
    texts, others = drawn(6_000, 0), drawn(500, 1)
    model = RewardModel()
    model.fit(texts, additive(texts, power))
    assert model.power == power
    assert np.corrcoef(model.logits(others), logit(additive(others, power)))[0, 1] > 0.99


def test_a_network_that_it_is_given_to_reads_texts_as_it_does() -> None:
    model = RewardModel(least=1)
    texts = ["A good film, and a good end", "The film is bad", "it's bad; the end"]
    model.fit(texts * 4, np.array([0.9, 0.2, 0.1] * 4))
    vocabulary = klrl_envs.make_task("klrl/Sentiment-v0").vocabulary
    evidence = WordEvidence(vocabulary, 16)
    model.give(evidence)
    for text in (*texts, "A good good film and nothing known"):
        tokens = torch.tensor([vocabulary.encode(text)])
        words = read_words(evidence, tokens, torch.tensor([tokens.shape[1]]), tokens.shape[1] + 1)
        found = evidence.logits(words.sums, words.count).item()
        assert found == pytest.approx(model.logits([text])[0], abs=1e-4)


def test_without_a_fit_all_texts_are_alike() -> None:
    assert RewardModel().logits(["one", "two words", ""]).tolist() == [0, 0, 0]


def test_a_text_without_words_has_a_reward() -> None:
    model = RewardModel(least=1)
    model.fit(["", "good", "good", "bad"], np.array([0.5, 1.0, 1.0, 0.0]))
    assert np.isfinite(model.logits(["", "good"])).all()
    assert model.logits(["good"])[0] > model.logits(["bad"])[0]


def test_the_ridge_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    dense, targets, penalty = rng.normal(size=(30, 5)), rng.normal(size=30), rng.uniform(0.1, 2, 5)
    expected = np.linalg.solve(dense.T @ dense + np.diag(penalty), dense.T @ targets)
    assert ridge(csr_matrix(dense), targets, penalty) == pytest.approx(expected, abs=1e-4)
