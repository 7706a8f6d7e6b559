"""``words``, the bigram of film reviews that ships with the package, and ``words-trigram`` beside it."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from klrl_envs.assets import asset_arrays, asset_digest
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.trigram import TrigramReference

END_TOKEN = 0


def load_words() -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """The words [V], log pi0 of the first word [V], and of each word after each [V, V], in nats."""
    table = asset_arrays("words.safetensors")
    words = tuple(table["words"].tobytes().decode().split("\n"))
    size, alpha = len(words), float(table["alpha"][0])
    pairs = np.full((size, size), alpha)
    pairs[table["row"], table["column"]] += table["count"]
    start = table["start"] + alpha
    return words, np.log(start / start.sum()), np.log(pairs / pairs.sum(axis=1, keepdims=True))


@lru_cache(maxsize=1)
def words_bigram() -> tuple[tuple[str, ...], MarkovReference]:
    """The words and the bigram over them; loaded once per process."""
    words, start, rows = load_words()
    fingerprint = asset_digest("words.safetensors")
    return words, MarkovReference(start, rows, name="words", fingerprint=fingerprint)


@lru_cache(maxsize=1)
def words_trigram() -> tuple[tuple[str, ...], TrigramReference]:
    """The words and the trigram over them; loaded once per process."""
    words, bigram = words_bigram()
    name = "words.trigram.safetensors"
    table = asset_arrays(name)
    columns = [np.repeat(table[column], table["thirds"]) for column in ("first", "second")]
    triples = np.stack([*columns, table["third"]], axis=1).astype(np.int64)
    fingerprint = hashlib.sha256(f"{bigram.fingerprint} {asset_digest(name)}".encode()).hexdigest()
    kappa = float(table["kappa"][0])
    return words, TrigramReference(
        bigram, triples, table["count"], kappa, name="words-trigram", fingerprint=fingerprint
    )
