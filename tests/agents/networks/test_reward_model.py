"""The model of the reward: it finds an additive reward, and says the same on the way as at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from agents.networks.reward_model import RewardModel, logit, ridge, token_weights

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


def test_on_the_way_it_says_what_it_says_of_the_words_that_are_whole() -> None:
    texts = drawn(300, 2)
    model = RewardModel()
    model.fit(texts, additive(texts, 0.5))
    # the ends of the words and one place within the second word
    text = "w1 w2 w1 w2 w3 unknown"
    ends = np.array([[0, 2, 4, 5, 11, 14, len(text)]])
    sums, words = model.along([text], ends)
    whole = ["", "w1", "w1", "w1 w2", "w1 w2 w1 w2", "w1 w2 w1 w2 w3", text]
    assert words.tolist() == [[len(each.split()) for each in whole]]
    assert model.calibrated(sums, words)[0, 1:] == pytest.approx(model.logits(whole)[1:])
    assert sums[0, 0] == 0


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


def test_weights_of_tokens_predict_what_tokens_and_pairs_add() -> None:
    rng = np.random.default_rng(3)
    tokens, lengths = rng.integers(0, 6, (4_000, 8)), rng.integers(3, 9, 4_000)
    single, double = rng.normal(size=6), rng.normal(size=36)

    def total(single: NDArray[np.float64], double: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.arange(8) < lengths[:, None]
        sums = (single[tokens] * inside).sum(1)
        sums += (double[tokens[:, :-1] * 6 + tokens[:, 1:]] * inside[:, 1:]).sum(1)
        return sums / np.sqrt(lengths)

    targets = total(single, double)
    found: Any = token_weights(tokens, lengths, targets, 6, (0.01, 0.01))
    assert np.corrcoef(total(*found), targets)[0, 1] > 0.99
