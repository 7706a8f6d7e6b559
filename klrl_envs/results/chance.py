"""How far apart chance may bring two numbers that belong together."""

from __future__ import annotations

import math
from functools import cache

SIGMAS = 5.0
"""Standard errors of a normal law that are allowed: chance exceeds them once in 1.7 million."""

UNSEEN = 15.0
"""Rare events that a sample may lack: of a Poisson law with this mean, none is seen once in 3 million."""

ENOUGH = 100
"""Degrees of freedom from which an error that was estimated from a sample is believed. With fewer a control
variate that is fitted on them may be anything, and only what is tied without chance is checked."""

ROUNDING = 1e-6
"""Of the scale of a number. Another machine's linear algebra moves an optimum by about 1e-10."""


@cache
def allowed_errors(degrees_of_freedom: float) -> float:
    """How many standard errors are allowed where an error was itself estimated from a sample.

    Args:
        degrees_of_freedom: of the error.

    Returns:
        Student's quantile at the probability that ``SIGMAS`` has in a normal law; infinity below ``ENOUGH``.
    """
    if degrees_of_freedom < ENOUGH:
        return math.inf
    from scipy.special import ndtr, stdtrit  # pyright: ignore[reportMissingTypeStubs]

    return float(-stdtrit(degrees_of_freedom, ndtr(-SIGMAS)))
