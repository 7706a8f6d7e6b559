"""The shipped files are those of the manifest, and the cards' figures meet what is asked of them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
import klrl_envs.assets as assets
from klrl_envs.assets.build import trigram
from klrl_envs.assets.build.__main__ import FILES
from klrl_envs.assets.build.cards import read_measurements, update_manifest, write_card
from klrl_envs.assets.build.corpus import Review
from klrl_envs.assets.build.words import OUTSIDE, count_pairs, encode, smoothed, split_words
from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.trigram import TrigramReference
from klrl_envs.reference.words import load_words, words_bigram, words_trigram

CARDS = assets.FOLDER / "cards"
BUILT = [name for names in FILES.values() for name in names]


@pytest.mark.parametrize("name", BUILT)
def test_manifest_matches_the_file(name: str) -> None:
    entry = assets.manifest()[name]
    path = assets.FOLDER / name
    assert assets.file_digest(path) == entry["sha256"]
    assert path.stat().st_size == entry["bytes"]
    assert assets.asset_path(name) == path


def test_all_assets_are_small() -> None:
    shipped = [path for path in assets.FOLDER.rglob("*") if path.suffix in {".safetensors", ".json", ".md"}]
    assert sum(path.stat().st_size for path in shipped) < 25e6
    assert all(
        (assets.FOLDER / f"sentiment.{n}.safetensors").stat().st_size <= 4e6 for n in ("reward", "gold")
    )
    assert (assets.FOLDER / "words.safetensors").stat().st_size <= 8e6


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_asset_is_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "sentiment.prompts.safetensors"
    data = bytearray((assets.FOLDER / name).read_bytes())
    if damage == "changed":
        data[-1] ^= 1
    if damage != "missing":
        (tmp_path / name).write_bytes(data[:-1] if damage == "cut" else data)
    shutil.copy(assets.MANIFEST, tmp_path / "manifest.json")
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    monkeypatch.setattr(assets, "MANIFEST", tmp_path / "manifest.json")
    assets.asset_path.cache_clear()
    try:
        with pytest.raises(assets.CorruptedAsset) as caught:
            assets.asset_path(name)
    finally:
        assets.asset_path.cache_clear()
    assert name in str(caught.value)
    if damage != "missing":
        assert str(assets.manifest()[name]["sha256"]) in str(caught.value)
        assert assets.file_digest(tmp_path / name) in str(caught.value)


def test_unknown_asset() -> None:
    with pytest.raises(KeyError, match=r"unknown asset 'novels'.*words\.safetensors"):
        assets.asset_path("novels")


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


def test_words_are_distributions() -> None:
    words, start, rows = load_words()
    assert len(set(words)) == len(words) == len(start) and rows.shape == (len(words), len(words))
    np.testing.assert_allclose(np.exp(start).sum(), 1, atol=1e-12)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-12)
    assert np.isfinite(rows).all() and np.isfinite(start).all()


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


def test_the_trigram_that_is_counted_is_the_one_that_is_read(tmp_path: Path) -> None:
    """Perplexity by the build's own formula and by the reference, on a few made-up reviews."""
    from safetensors.numpy import load_file, save_file

    generator = np.random.default_rng(0)
    letters = [chr(ord("a") + place) for place in range(6)]
    reviews = [
        Review(" ".join(generator.choice([*letters, "zebra"], size=30)), 0, "imdb", part)
        for part in ["reward"] * 60 + ["held_out"] * 10
    ]
    words = ["<end>", *letters]
    texts = {
        held: encode([split_words(r.text) for r in reviews if (r.part == "held_out") == held], words)
        for held in (False, True)
    }
    start, pairs, _ = count_pairs(texts[False], 7)
    row, column = (place.copy() for place in np.nonzero(pairs))
    save_file(
        {
            "words": np.frombuffer("\n".join(words).encode(), dtype=np.uint8), "start": start, "row": row,
            "column": column, "count": pairs[row, column], "alpha": np.array([0.5]),
        },
        tmp_path / "words.safetensors",
    )  # fmt: skip
    measured = trigram.build(tmp_path, reviews)
    table = load_file(tmp_path / "words.trigram.safetensors")
    assert table["thirds"].sum() == len(table["third"]) == measured["distinct_triples"]
    known = np.stack(
        [np.repeat(table["first"], table["thirds"]), np.repeat(table["second"], table["thirds"])]
    )
    triples = np.concatenate([known, table["third"][None]]).T.astype(np.int64)
    plain = [tuple(text[k : k + 3]) for text in texts[False] for k in range(len(text) - 2)]
    for triple, count in zip(triples.tolist(), table["count"].tolist(), strict=True):
        assert plain.count(tuple(triple)) == count >= trigram.FEWEST_OF_A_TRIPLE
    bigram = MarkovReference(smoothed(start, 0.5), smoothed(pairs, 0.5))
    reference = TrigramReference(bigram, triples, table["count"], float(table["kappa"][0]))
    losses = []
    for text in texts[True]:
        for place in range(2, len(text)):
            three = text[place - 2 : place + 1]
            if (three != OUTSIDE).all():
                context = reference.context_after(three[None, :2], np.array([2]))
                losses.append(-reference.rows(context)[0, three[2]])
    assert measured["held_out_triples"] == len(losses)
    assert measured["held_out_perplexity_trigram"] == pytest.approx(np.exp(np.mean(losses)), abs=0.006)


def test_prompts_are_distinct_and_apart() -> None:
    from safetensors.numpy import load_file

    prompts = load_file(assets.asset_path("sentiment.prompts.safetensors"))
    assert prompts["train"].shape == (4096, 8) and prompts["evaluation"].shape == (64, 8)
    rows = np.concatenate((prompts["train"], prompts["evaluation"]))
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert rows.min() > 0 and rows.max() < 2048


def test_card_and_manifest_come_from_the_build(tmp_path: Path) -> None:
    (tmp_path / "words.safetensors").write_bytes(b"words")
    update_manifest(tmp_path, ["words.safetensors"])
    measured = {"vocabulary": 2011, "alpha": 0.05, "chosen": "whole", "table": {"1.0": 2.5}}
    card = write_card(tmp_path, "words", ["words.safetensors"], measured)
    assert read_measurements(card) == {"vocabulary": 2011, "alpha": 0.05}
    update_manifest(tmp_path, [])
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8"))["words.safetensors"]["bytes"] == 5


def test_build_help_and_missing_tokenizer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "klrl_envs.assets.build"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown and "sentiment" in shown
    failed = subprocess.run(
        [*command, "prompts", "--out", str(tmp_path), "--work", str(tmp_path)], capture_output=True, text=True
    )
    assert failed.returncode == 1 and "build nano" in failed.stderr
