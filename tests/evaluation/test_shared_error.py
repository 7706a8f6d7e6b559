"""The error that all scores on an environment share."""

from dataclasses import replace

import numpy as np
import pytest

from klrl_envs.evaluation.assess import score_interval
from klrl_envs.evaluation.comparison import exact_interval
from klrl_envs.evaluation.shared_error import shared_score_error
from klrl_envs.optima.optimum import optimum

EXACT = optimum("klrl/DiagnosticModes-v0")
CERTIFIED = replace(EXACT, value_stderr=0.02, reference_value_stderr=0.01)


def test_an_exact_optimum_brings_no_error():
    assert shared_score_error(0.7, EXACT) == 0


@pytest.mark.parametrize("score", [-2.0, 0.0, 0.4, 1.0, 1.2])
def test_it_is_what_an_evaluation_without_an_error_of_its_own_has(score: float):
    assert CERTIFIED.gap is not None
    found = score_interval(exact_interval((1 - score) * CERTIFIED.gap), CERTIFIED)
    assert found is not None and found.estimate == pytest.approx(score)
    assert found.upper - score == pytest.approx(1.959964 * shared_score_error(score, CERTIFIED), rel=1e-5)


def test_it_is_as_wide_as_the_scores_under_errors_that_rise_together():
    """Errors of J0 and J* of correlation 0 or 1, drawn: the wider of the two spreads."""
    assert CERTIFIED.gap is not None
    gap, draws = CERTIFIED.gap, np.random.default_rng(0).normal(size=(2, 100_000))
    for score in (-0.5, 0.3, 0.9, 1.2):
        objective = EXACT.reference_value + score * gap
        spreads: list[float] = []
        for other in draws:
            low = EXACT.reference_value + 1e-4 * draws[0]
            high = EXACT.value + 2e-4 * other
            spreads.append(float(((objective - low) / (high - low)).std()))
        small = replace(EXACT, value_stderr=2e-4, reference_value_stderr=1e-4)
        assert shared_score_error(score, small) == pytest.approx(max(spreads), rel=0.02)


def test_where_nothing_can_be_gained_there_is_no_score():
    with pytest.raises(ValueError, match="no score"):
        shared_score_error(0.5, replace(EXACT, value=EXACT.reference_value))
