"""The lexicon that ships: vectors, classes, weights and syllables of its words."""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.lexicon import CLASSES, every_word, word_lexicon
from klrl_envs.tasks.diversity import DIVERSE


def test_vectors_and_classes_are_sound() -> None:
    lexicon = word_lexicon()
    words = {word: token for token, word in enumerate(lexicon.words)}
    assert len(lexicon.words) == len(lexicon.vectors) == 2011
    assert every_word(lexicon) == lexicon.words[1:]
    lengths = np.linalg.norm(lexicon.vectors, axis=1)
    np.testing.assert_array_equal(lengths[:11], 0)
    np.testing.assert_allclose(lengths[11:], 1, atol=2e-3)
    for one, near, far in (
        ("war", "military", "hilarious"),
        ("music", "soundtrack", "husband"),
        ("funny", "hilarious", "war"),
        ("boring", "dull", "daughter"),
        ("actor", "actress", "plot"),
    ):
        vector = lexicon.vectors[words[one]]
        assert vector @ lexicon.vectors[words[near]] > 0.2 + vector @ lexicon.vectors[words[far]]
    classes = lexicon.classes
    assert set(classes.tolist()) == set(range(-1, CLASSES))
    assert (classes[:161] == -1).all() and (classes[161:] >= 0).all()
    assert np.bincount(classes[161:]).min() >= 50
    np.testing.assert_array_equal(lexicon.nearest_classes[161:], classes[161:])
    assert (lexicon.nearest_classes[:11] == -1).all() and (lexicon.nearest_classes[11:] >= 0).all()
    assert lexicon.nearest_classes[words["she"]] == classes[words["wife"]]
    for same in (("robert", "john", "peter"), ("boring", "silly", "lame"), ("wife", "husband", "sister")):
        assert len({int(classes[words[word]]) for word in same}) == 1
    assert (
        len({int(classes[words[word]]) for word in ("robert", "boring", "wife", "touching", "costumes")}) == 5
    )
    assert len(set(DIVERSE)) == 8


def test_weights_and_syllables_are_sound() -> None:
    lexicon = word_lexicon()
    words = {word: token for token, word in enumerate(lexicon.words)}
    assert lexicon.weights[0] == 0 and np.abs(lexicon.weights).max() == 8 and lexicon.eta == 0.2
    assert all(lexicon.weights[words[word]] >= 4 for word in ("wonderful", "superb", "touching", "excellent"))
    assert all(lexicon.weights[words[word]] <= -4 for word in ("worst", "awful", "waste", "boring"))
    assert all(abs(lexicon.weights[words[word]]) <= 1 for word in ("the", "of", "and", ",", "in"))
    counts = {"the": 1, "movie": 2, "wonderful": 3, "military": 4, "personality": 5, "imdb": 0, ".": 0}
    assert {word: int(lexicon.syllables[words[word]]) for word in counts} == counts
