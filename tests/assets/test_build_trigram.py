"""The build of the trigram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from klrl_envs.assets.build import trigram
from klrl_envs.assets.build.corpus import Review
from klrl_envs.assets.build.words import OUTSIDE, count_pairs, encode, smoothed, split_words
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.trigram import TrigramReference


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
