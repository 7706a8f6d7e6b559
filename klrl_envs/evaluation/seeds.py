"""The randomness of an evaluation: nobody knows it before, and no training shares it."""

from __future__ import annotations

import secrets

import numpy as np

EVALUATION = 0x6B6C726C
"""Sets the streams of evaluations apart from those that a training draws with the same seed."""
SEED_BITS = 53
"""Of a drawn seed: what every reader of JSON keeps."""


LEAST_FRESH = 1 << 32
"""No drawn seed is below, so that one which somebody typed is told apart."""


def fresh_seed() -> int:
    """A seed from the operating system's entropy, ``LEAST_FRESH`` to 2^53 - 1."""
    return LEAST_FRESH + secrets.randbelow((1 << SEED_BITS) - LEAST_FRESH)


def evaluation_stream(seed: int, part: int) -> np.random.Generator:
    """One of the streams of an evaluation: independent of its other parts, and of any training's.

    Args:
        seed: the evaluation's, at least 0.
        part: which stream.
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(EVALUATION, part)))
