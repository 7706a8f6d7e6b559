"""``scale``: notes that like to follow each other from the bottom up."""

from __future__ import annotations

import math

import numpy as np

from klrl_envs.reference.markov import MarkovReference

NOTES = ("do", "re", "mi", "fa", "sol", "la", "si", "ut")


def scale_bigram(probability: float, horizon: int) -> MarkovReference:
    """A bigram that writes the scale of ``horizon`` notes with the given probability."""
    count = len(NOTES)
    right = math.log(probability) / horizon
    wrong = math.log(-math.expm1(right) / (count - 1))
    table = np.full((count + 1, count), wrong)
    # the row of each note is that of what comes after it; the last row is the start, where "do" is due
    table[np.arange(count), (np.arange(count) + 1) % count] = right
    table[count, 0] = right
    return MarkovReference(table[-1], table[:-1], name="scale")
