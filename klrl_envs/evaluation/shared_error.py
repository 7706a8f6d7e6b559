"""What all scores on an environment share: the errors of its certified J* and J(pi0)."""

from __future__ import annotations

import math

from klrl_envs.optima.result import Optimum


def shared_score_error(score: float, optimum: Optimum) -> float:
    """The standard error that a score has from the optimum alone, however many episodes and seeds there are.

    With G = J* - J0 and s the score, errors of J0 and J* move it by (s - 1) dJ0 / G - s dJ* / G (the delta
    method). Both come from the same samples with a correlation between 0 and 1, as the weights rise with the
    reward. The worse of these two is assumed, so the error errs to the wide side.

    Args:
        score: (J - J0) / (J* - J0), of one seed or the mean of several.
        optimum: what it is measured against; 0 comes out where that is exact.

    Raises:
        ValueError: J* = J0, where there is no score.
    """
    gap = optimum.gap
    if gap is None:
        raise ValueError(f"optimum of {optimum.env_id} must be above J(pi0): there is no score where J* = J0")
    reference = (1 - score) * optimum.reference_value_stderr
    best = score * optimum.value_stderr
    return math.sqrt(reference**2 + best**2 + 2 * max(reference * best, 0.0)) / gap
