"""The cards name their files, and their figures meet what is asked of them."""

from __future__ import annotations

import re

import numpy as np
import pytest

import klrl_envs
import klrl_envs.assets as assets
from klrl_envs.assets.build.__main__ import recipes
from klrl_envs.assets.build.cards import read_measurements
from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.reference.words import words_bigram, words_trigram

CARDS = assets.FOLDER / "cards"


FILES = {asset.name: asset.files for recipe in recipes().values() for asset in recipe.assets}


@pytest.mark.parametrize("asset", FILES)
def test_card_names_its_files(asset: str) -> None:
    card = (CARDS / f"{asset}.md").read_text("utf-8")
    for heading in ("## Data", "## Recipe", "## Measured", "## Limits", "## Files"):
        assert heading in card
    for name in FILES[asset]:
        assert str(assets.manifest()[name]["sha256"]) in card
        assert f"{assets.manifest()[name]['bytes']:,}" in card
    assert "MIT" in card and not re.search(r"\$[a-z]", card)


@pytest.mark.parametrize("name", ["reward", "gold"])
def test_classifiers_meet_their_bars(name: str) -> None:
    measured = read_measurements(CARDS / f"sentiment.{name}.md")
    assert measured["whole_accuracy"] >= 0.86
    assert measured["window_accuracy"] >= 0.72
    assert measured["window_accuracy"] >= measured["naive_bayes_window_accuracy"]
    assert measured["window_calibration_error"] <= 0.03
    assert measured["whole_calibration_error"] <= 0.03
    assert measured["windows_a_cpu_second"] >= 20_000


def test_language_models_meet_their_bars() -> None:
    assert read_measurements(CARDS / "nano.md")["held_out_nats_per_token"] <= 3.80
    words = read_measurements(CARDS / "words.md")
    assert words["held_out_perplexity_bigram"] < 0.5 * words["held_out_perplexity_unigram"]


def test_lexicon_meets_its_bars_and_its_card() -> None:
    measured = read_measurements(CARDS / "words.lexicon.md")
    lexicon = word_lexicon()
    assert (assets.FOLDER / "words.lexicon.safetensors").stat().st_size <= 1e6
    assert measured["dimensions"] == lexicon.vectors.shape[1]
    assert measured["classes"] == lexicon.classes.max() + 1
    assert measured["words_with_class"] == (lexicon.classes >= 0).sum()
    assert measured["words_with_syllables"] == (lexicon.syllables > 0).sum() >= 1980
    assert measured["most_syllables"] == lexicon.syllables.max()
    assert measured["eta"] == lexicon.eta
    assert measured["largest_weight"] == np.abs(lexicon.weights).max()
    for kind, bar in (("whole", 0.79), ("passage", 0.66), ("sentence", 0.72)):
        assert bar <= measured[f"{kind}_accuracy"] >= measured[f"unquantised_{kind}_accuracy"] - 0.01
    assert measured["held_out_neighbours_above_chance_pairs"] >= 0.6
    assert measured["mean_cosine_to_own_class"] >= 4 * measured["mean_cosine_of_two_words"]


def test_the_trigram_meets_its_bars_and_its_card() -> None:
    measured = read_measurements(CARDS / "words.trigram.md")
    words, reference = words_trigram()
    assert words == words_bigram()[0] and reference.bigram is words_bigram()[1]
    assert (assets.FOLDER / "words.trigram.safetensors").stat().st_size <= 2.5e6
    assert measured["pairs"] == len(reference.pairs)
    assert measured["kappa"] == reference.kappa
    assert measured["vocabulary"] == reference.vocab_size == len(words)
    assert measured["held_out_perplexity_trigram"] < 0.85 * measured["held_out_perplexity_bigram"]
    assert reference.fingerprint != reference.bigram.fingerprint
    assert klrl_envs.words_trigram is words_trigram
    contexts = np.random.default_rng(0).integers(reference.contexts, size=50)
    np.testing.assert_allclose(np.exp(reference.rows(contexts)).sum(axis=1), 1, atol=1e-12)
    # it has learnt: "one of" -> "the" is likelier than "of" -> "the"
    one, of, the = (words.index(word) for word in ("one", "of", "the"))
    context = reference.context_after(np.array([[one, of]]), np.array([2]))
    assert context[0] >= len(words)
    assert np.exp(reference.rows(context)[0, the]) > 1.5 * np.exp(reference.bigram.table[of, the])
