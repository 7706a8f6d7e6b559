"""``words.trigram``: counts of three words in a row, for a reference with a longer memory than ``words``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from klrl_envs.assets import read_arrays, write_arrays
from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.assets.build.words import OUTSIDE, encode, smoothed, split_words
from klrl_envs.reference.arrays import FloatArray, IntArray

FEWEST_OF_A_TRIPLE = 2
FEWEST_OF_A_PAIR = 20
KAPPAS = (20.0, 50.0, 100.0, 200.0, 400.0, 800.0)


def count_triples(texts: Sequence[IntArray], size: int) -> tuple[IntArray, IntArray]:
    """Codes (u V + v) V + w, ascending, of the triples that occur, and how often they do.

    A word outside the list breaks the context: no triple that holds it is counted.
    """
    found = [np.zeros(0, dtype=np.int64)]
    for text in texts:
        first, second, third = text[:-2], text[1:-1], text[2:]
        known = (first != OUTSIDE) & (second != OUTSIDE) & (third != OUTSIDE)
        found.append(((first * size + second) * size + third)[known])
    return np.unique(np.concatenate(found), return_counts=True)


def pruned(
    codes: IntArray, counts: IntArray, size: int, fewest: int, fewest_of_a_pair: int
) -> tuple[IntArray, IntArray]:
    """The triples that occur ``fewest`` times, of pairs to which these leave ``fewest_of_a_pair``."""
    kept = counts >= fewest
    codes, counts = codes[kept], counts[kept]
    _, pair = np.unique(codes // size, return_inverse=True)
    enough = np.bincount(pair, counts)[pair] >= fewest_of_a_pair
    return codes[enough], counts[enough]


def mixed(
    wanted: IntArray, of_bigram: FloatArray, codes: IntArray, counts: IntArray, size: int, kappa: float
) -> FloatArray:
    """pi0(w | u, v) of wanted triples: (n(u, v, w) + kappa pi0(w | v)) / (n(u, v) + kappa)."""
    own, total = np.zeros(len(wanted)), np.zeros(len(wanted))
    if len(codes):
        place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        own = np.where(codes[place] == wanted, counts[place], 0.0)
        pairs, of_pair = np.unique(codes // size, return_inverse=True)
        sums = np.bincount(of_pair, counts)
        place = np.minimum(np.searchsorted(pairs, wanted // size), len(pairs) - 1)
        total = np.where(pairs[place] == wanted // size, sums[place], 0.0)
    return (own + kappa * of_bigram) / (total + kappa)


def bigram_of(path: Path) -> tuple[list[str], FloatArray]:
    """The words and log pi0 [V, V] of a ``words.safetensors``."""
    table = read_arrays(path)
    words = table["words"].tobytes().decode().split("\n")
    pairs = np.zeros((len(words), len(words)), dtype=np.int64)
    pairs[table["row"], table["column"]] = table["count"]
    return words, smoothed(pairs, float(table["alpha"][0]))


def build(out: Path, reviews: Sequence[Review] | None = None) -> dict[str, object]:
    """Write ``words.trigram.safetensors`` to ``out``, where the bigram is; return the card's measurements."""
    words, log_bigram = bigram_of(out / "words.safetensors")
    size = len(words)
    reviews = load_reviews() if reviews is None else reviews
    parts: dict[bool, list[list[str]]] = {False: [], True: []}
    for review in tqdm(reviews, desc="trigram", unit="review"):
        parts[review.part == "held_out"].append(split_words(review.text))
    every, how_often = count_triples(encode(parts[False], words), size)
    held, weight = count_triples(encode(parts[True], words), size)
    of_bigram = np.exp(log_bigram[held // size % size, held % size])

    def perplexity(probabilities: FloatArray) -> float:
        return round(float(np.exp(-(weight @ np.log(probabilities)) / weight.sum())), 2)

    def by_kappa(codes: IntArray, counts: IntArray) -> dict[float, float]:
        return {kappa: perplexity(mixed(held, of_bigram, codes, counts, size, kappa)) for kappa in KAPPAS}

    codes, counts = pruned(every, how_often, size, FEWEST_OF_A_TRIPLE, FEWEST_OF_A_PAIR)
    tried = by_kappa(codes, counts)
    kappa = min(tried, key=lambda candidate: tried[candidate])
    pairs, thirds = np.unique(codes // size, return_counts=True)
    write_arrays(
        out / "words.trigram.safetensors",
        {
            "first": (pairs // size).astype(np.uint16),
            "second": (pairs % size).astype(np.uint16),
            "thirds": thirds.astype(np.uint16),
            "third": (codes % size).astype(np.uint16),
            "count": fitting(counts, np.uint16),
            "kappa": np.array([kappa]),
        },
    )
    return {
        "vocabulary": size,
        "kappa": kappa,
        "fewest_of_a_triple": FEWEST_OF_A_TRIPLE,
        "fewest_of_a_pair": FEWEST_OF_A_PAIR,
        "training_triples": int(how_often.sum()),
        "distinct_triples_before_pruning": len(every),
        "distinct_triples": len(codes),
        "pairs": len(pairs),
        "share_of_training_triples_kept": round(float(counts.sum() / how_often.sum()), 4),
        "held_out_triples": int(weight.sum()),
        "held_out_share_after_a_known_pair": round(
            float(weight[np.isin(held // size, pairs)].sum() / weight.sum()), 4
        ),
        "held_out_perplexity_bigram": perplexity(of_bigram),
        "held_out_perplexity_trigram": tried[kappa],
        "held_out_perplexity_by_kappa": {f"{one:g}": found for one, found in tried.items()},
        "held_out_perplexity_without_pruning": min(by_kappa(every, how_often).values()),
    }


def fitting(counts: IntArray, kind: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Counts in a smaller type.

    Raises:
        OverflowError: one does not fit.
    """
    if counts.size and counts.max() > np.iinfo(kind).max:
        raise OverflowError(f"a triple occurs {counts.max()} times, above what {kind.__name__} holds")
    return counts.astype(kind)


CARD = """\
# words.trigram: three words in a row, beside `words`

The counts that make a trigram of the bigram `words`, under the name `words-trigram`:

    pi0(w | u, v) = (n(u, v, w) + kappa pi0(w | v)) / (n(u, v) + kappa)

after the pairs (u, v) that the file knows, the bigram's pi0(w | v) after all others and pi0(w) at the start
of a text. The words, their ids and the bigram are those of `words.safetensors`. Pairs and triples are in
ascending order, `thirds` says how many triples a pair has.

## Data
$data

Text in lower case, cut as for `words`; the end token stands behind the last word of a review. A word outside
the list breaks the context: no triple that holds it is counted. Counts come from everything but the held-out
tenth.

## Recipe
`klrl_envs/assets/build/trigram.py`:
count; leave out the triples that occur less than `fewest_of_a_triple` times,
and then the pairs that are left with less than `fewest_of_a_pair`; choose kappa on the held-out tenth.
$rebuild

## Measured
Perplexity of the third word of the held-out triples whose three words are all listed, the bigram on the same
words. As kappa was chosen there too, the figures flatter by what one parameter can.

$measured

## Limits
It knows two words back, and only after common pairs. An exact task has a state for each of its contexts
(the words, the pairs and the start) and each state of its automaton, so that it serves automata of few
states. Words outside the list cannot be written.

## Files
$files
"""
RECIPE = Recipe(
    name="trigram",
    assets=(Asset("words.trigram", ("words.trigram.safetensors",), CARD),),
    takes="about 1 minute",
    reads=("words.safetensors",),
    build=lambda out, work: {"words.trigram": build(out)},
)
