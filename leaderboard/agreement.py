"""Whether numbers that were measured twice agree: of one policy, and of one agent that was trained twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from klrl_envs.results.chance import SIGMAS
from klrl_envs.results.entry import Seed
from klrl_envs.results.record import Errors
from leaderboard.contained import Measurement

CONFIDENCE = 0.99
ROUNDING = 1e-5
"""Of a number: float32 on two machines. Where nothing is sampled, two evaluations differ by that alone."""
NUMBERS = tuple(name for name in Errors.model_fields if name != "difference")


def check_claim(claimed: Seed, measured: Measurement, kl_coef: float) -> None:
    """Raise ValueError where a seed's claim is not what its policy is worth.

    Each number may differ by 5 of the two evaluations' combined standard errors, and by rounding.
    """
    if claimed.evaluation is None:
        raise ValueError(
            f"seed {claimed.seed} does not say how it was evaluated, so that its claim has no error to be "
            "held to: run it again with the present version"
        )
    theirs, ours = claimed.evaluation.errors, measured.evaluation.errors
    gap = measured.optimum - measured.reference_value
    for name in NUMBERS:
        unit = gap / kl_coef if name == "kl" else gap
        error = math.hypot(getattr(theirs, name), getattr(ours, name))
        check_number(claimed.seed, name, getattr(claimed, name), getattr(measured, name), error, unit)
    if (claimed.score is None) != (measured.score is None):
        raise ValueError(
            f"seed {claimed.seed} claims score {claimed.score}, and {measured.score} was measured"
        )
    if claimed.score is not None and measured.score is not None:
        error = math.hypot(theirs.objective, ours.objective) / gap
        check_number(claimed.seed, "score", claimed.score, measured.score, error, 1.0)


def check_number(seed: int, name: str, claimed: float, measured: float, error: float, unit: float) -> None:
    """Raise ValueError where two measurements are further apart than their combined standard error allows.

    Args:
        seed, name: of what.
        claimed, measured: the two.
        error: their combined standard error.
        unit: a number of the size that counts, for rounding.
    """
    allowed = SIGMAS * error + rounding(claimed, measured, unit)
    if not abs(claimed - measured) <= allowed:
        raise ValueError(
            f"seed {seed} claims {name} {claimed:.6g}, and its policy was measured at {measured:.6g}; by "
            f"chance they may differ by {allowed:.3g}"
        )


def same_mean(first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE) -> bool:
    """Whether two samples may have one mean, by Welch's test; an honest pair fails it once in a hundred.

    That one mean lies inside the other's 95 % interval is no such test: of two honest samples of five it
    fails 12 %. Without any spread the test is undefined, and samples that are equal to rounding pass.

    Args:
        first, second: floats of at least two runs each, in one unit.
        confidence: the probability that samples of one distribution pass.

    Raises:
        ValueError: fewer than two runs in either, unless all are equal; a number that is not finite.
    """
    both = np.array([*first, *second], dtype=np.float64)
    if not len(first) or not len(second) or not np.isfinite(both).all():
        raise ValueError(f"both samples must hold finite numbers, got {list(first)} and {list(second)}")
    if np.ptp(both) <= rounding(*both):
        return True
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"two runs a side are needed to tell a spread, got {len(first)} and {len(second)}, not all equal"
        )
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return False
    found: Any = stats.ttest_ind(first, second, equal_var=False)
    return bool(found.pvalue >= 1 - confidence)


def rounding(*numbers: float) -> float:
    """By how much numbers of this size may differ where nothing is sampled."""
    return ROUNDING * max(0.1, *map(abs, numbers))
