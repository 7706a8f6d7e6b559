"""``words``: a bigram model over the commonest words of the reviews."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from klrl_envs.assets import write_arrays
from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.reference.arrays import FloatArray, IntArray

END = "<end>"
WORDS = 2_000
MARKS = (".", ",", "!", "?", ":", ";", "(", ")", '"', "-")
ALPHAS = (1.0, 0.3, 0.1, 0.05, 0.03, 0.02, 0.01, 0.003, 0.001)
OUTSIDE = -1
_TOKEN = re.compile(r"[a-z]+(?:['’][a-z]+)*|[0-9]+|[.,!?:;()\"-]")


def split_words(text: str) -> list[str]:
    """Words, numbers and marks of a text in lower case."""
    return _TOKEN.findall(text.lower().replace("’", "'"))


def choose_words(texts: Sequence[list[str]]) -> list[str]:
    """The end token, the marks, and the WORDS commonest words (alphabetical among equals)."""
    counts = Counter(word for text in texts for word in text if word[0].isalpha())
    commonest = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
    return [END, *MARKS, *commonest]


def encode(texts: Sequence[list[str]], words: Sequence[str]) -> list[IntArray]:
    """Token ids of each text and its end token; a word outside the list is OUTSIDE."""
    index = {word: token for token, word in enumerate(words)}
    return [np.array([*(index.get(word, OUTSIDE) for word in text), 0]) for text in texts]


def count_pairs(texts: Sequence[IntArray], size: int) -> tuple[IntArray, IntArray, IntArray]:
    """Counts of first tokens [V], of (previous, next) pairs [V, V], and of single tokens [V].

    A word outside the list breaks the context: neither the pair that ends in it nor the pair that
    begins with it is counted.
    """
    start, pairs, single = np.zeros(size, int), np.zeros((size, size), int), np.zeros(size, int)
    for text in texts:
        if text[0] != OUTSIDE:
            start[text[0]] += 1
        known = (text[:-1] != OUTSIDE) & (text[1:] != OUTSIDE)
        np.add.at(pairs, (text[:-1][known], text[1:][known]), 1)
        np.add.at(single, text[text != OUTSIDE], 1)
    return start, pairs, single


def smoothed(counts: IntArray, alpha: float) -> FloatArray:
    """log of (count + alpha) / (total + alpha V) along the last axis (Lidstone)."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.log(counts + alpha) - np.log(total + alpha * counts.shape[-1])


def cross_entropy(log_probs: FloatArray, counts: IntArray) -> float:
    """Mean nats per token of held-out counts under a table of the same shape."""
    return float(-(log_probs * counts).sum() / counts.sum())


def build(out: Path, reviews: Sequence[Review] | None = None) -> dict[str, object]:
    """Write ``words.safetensors`` to ``out``; return the card's measurements."""
    reviews = load_reviews() if reviews is None else reviews
    split = [split_words(review.text) for review in tqdm(reviews, desc="words", unit="review")]
    held = np.array([review.part == "held_out" for review in reviews])
    train = [text for text, out_of in zip(split, held, strict=True) if not out_of]
    words = choose_words(train)
    size = len(words)
    start, pairs, single = count_pairs(encode(train, words), size)
    held_texts = encode([text for text, out_of in zip(split, held, strict=True) if out_of], words)
    held_start, held_pairs, _ = count_pairs(held_texts, size)
    losses = {alpha: cross_entropy(smoothed(pairs, alpha), held_pairs) for alpha in ALPHAS}
    alpha = min(losses, key=lambda candidate: losses[candidate])
    unigram = min(cross_entropy(smoothed(single, a), held_pairs.sum(axis=0)) for a in ALPHAS)
    row, column = np.nonzero(pairs)
    write_arrays(
        out / "words.safetensors",
        {
            "words": np.frombuffer("\n".join(words).encode(), dtype=np.uint8),
            "start": start.astype(np.uint32),
            "row": row.astype(np.uint16),
            "column": column.astype(np.uint16),
            "count": pairs[row, column].astype(np.uint32),
            "alpha": np.array([alpha]),
        },
    )
    tokens = np.concatenate(held_texts)
    return {
        "vocabulary": size,
        "alpha": alpha,
        "training_pairs": int(pairs.sum()),
        "distinct_pairs": len(row),
        "held_out_pairs": int(held_pairs.sum()),
        "held_out_outside_share": round(float((tokens == OUTSIDE).mean()), 4),
        "held_out_perplexity_bigram": round(float(np.exp(losses[alpha])), 2),
        "held_out_perplexity_unigram": round(float(np.exp(unigram)), 2),
        "held_out_perplexity_by_alpha": {str(a): round(float(np.exp(loss)), 2) for a, loss in losses.items()},
        "held_out_perplexity_first_word": round(
            float(np.exp(cross_entropy(smoothed(start, alpha), held_start))), 2
        ),
    }


CARD = """\
# words: a bigram model of film reviews

The reference of the exact text tasks: the 2,000 commonest words, ten marks and an end token (id 0), with
additive (Lidstone) smoothing, the same alpha for the first word and for every next one. Every token may
follow every token.

## Data
$data

Text in lower case. A word outside the list breaks the context: neither the pair that ends in it nor the
pair that begins with it is counted. Counts come from everything but the held-out tenth.

## Recipe
`klrl_envs/assets/build/words.py`:
count; choose alpha on the held-out tenth.
$rebuild

## Measured
Perplexity of the held-out pairs whose two words are both listed, the unigram (its own alpha chosen in the
same way) on the same second words. As alpha was chosen there too, the figures flatter by what one
parameter can.

$measured

## Limits
It knows one word back. The text is grammatical for three words or so. Words outside the list cannot be
written.

## Files
$files
"""
RECIPE = Recipe(
    name="words",
    assets=(Asset("words", ("words.safetensors",), CARD),),
    takes="about 1 minute",
    reads=(),
    build=lambda out, work: {"words": build(out)},
)
