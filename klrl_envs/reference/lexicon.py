"""What the word tasks know of each token of ``words``: vector, class, log-odds, syllables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from klrl_envs.assets import asset_arrays
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.words import END_TOKEN, words_bigram

FILE = "words.lexicon.safetensors"
CLASSES = 16


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Read-only arrays, one row per token of ``words`` (V tokens).

    Attributes:
        words: the tokens' strings.
        vectors: float64 [V, D], of unit length; zero for the end token and the marks.
        classes: int64 [V], 0..15, or -1 for a token without a class: end, marks, the 150 commonest words.
        nearest_classes: int64 [V], the same, but that the commonest words have the class nearest to them.
        weights: int64 [V], naive Bayes log-odds of a positive review in units of ``eta`` nats.
        eta: nats.
        syllables: int64 [V], 0 where they are unknown.
    """

    words: tuple[str, ...]
    vectors: FloatArray
    classes: IntArray
    nearest_classes: IntArray
    weights: IntArray
    eta: float
    syllables: IntArray


@lru_cache(maxsize=1)
def word_lexicon() -> Lexicon:
    """The lexicon of ``words`` that ships with the package; loaded once per process."""
    table = asset_arrays(FILE)
    whole = ("classes", "nearest_classes", "weights", "syllables")
    wide = {name: table[name].astype(np.int64) for name in whole}
    vectors = table["vectors"].astype(np.float64)
    for array in (vectors, *wide.values()):
        array.setflags(write=False)
    return Lexicon(
        words=words_bigram()[0],
        vectors=vectors,
        eta=float(table["eta"][0]),
        **wide,
    )


def every_word(lexicon: Lexicon) -> tuple[str, ...]:
    """All tokens but the end token, for texts of a fixed length."""
    return tuple(word for token, word in enumerate(lexicon.words) if token != END_TOKEN)
