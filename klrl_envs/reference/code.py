"""``code``: a bigram of brackets, atoms and commas, as they stand in real source code."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from klrl_envs.assets import asset_arrays, asset_digest
from klrl_envs.reference.markov import MarkovReference

END_TOKEN = 0


@lru_cache(maxsize=1)
def code_bigram() -> tuple[tuple[str, ...], MarkovReference]:
    """The 9 symbols and their bigram in source code, additively smoothed; loaded once per process."""
    table = asset_arrays("brackets.safetensors")
    alpha = float(table["alpha"][0])
    symbols = tuple(table["symbols"].tobytes().decode().split("\n"))
    start, pairs = table["start"] + alpha, table["pairs"] + alpha
    bigram = MarkovReference(
        np.log(start / start.sum()),
        np.log(pairs / pairs.sum(axis=1, keepdims=True)),
        name="code",
        fingerprint=asset_digest("brackets.safetensors"),
    )
    return symbols, bigram
