"""``hinted``: digits after a hint at the first of them, which the model leans to."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from klrl_envs.reference.markov import MarkovReference

DIGITS = "0123456789"
SYMBOLS = ("<end>", *DIGITS, "+", "=", *(f"~{digit}:" for digit in DIGITS))
END_TOKEN, ZERO, PLUS, EQUALS, HINT = 0, 1, 11, 12, 13
"""Tokens; the digits follow zero, and the hints at them follow the hint at zero."""

HINTED = 0.4
"""Of a digit after its hint."""
ENDING = 0.4
"""Of the end after a digit."""
STRAY = 0.01
"""Of all symbols that are neither digit nor end, together."""


@lru_cache(maxsize=1)
def hinted_bigram() -> MarkovReference:
    """All digits alike, but for the hinted one after its hint; texts often end after a digit."""
    size = len(SYMBOLS)
    row = np.full(size, STRAY / (size - HINT + 2))
    row[: ZERO + 10] = (1 - STRAY) / 11
    table = np.tile(row, (size + 1, 1))
    digits = table[ZERO : ZERO + 10]
    digits[:, ZERO : ZERO + 10] = (1 - STRAY - ENDING) / 10
    digits[:, END_TOKEN] = ENDING
    for digit in range(10):
        hint = table[HINT + digit]
        hint[: ZERO + 10] = (1 - STRAY - HINTED) / 10
        hint[ZERO + digit] = HINTED
    table = np.log(table)
    return MarkovReference(table[-1], table[:-1], name="hinted digits")
