"""Fits and gaps of ways from pi0."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims.overoptimisation import Way, fit, gap

D = np.linspace(0, 3, 400)


def test_a_form_is_fitted_by_itself() -> None:
    line = Way("line", D**2, D, 0.2 + D * (0.5 - 0.1 * D))
    found = fit(line, "linear")
    assert (found.alpha, found.beta, found.peak) == pytest.approx((0.5, 0.1, 2.5), abs=1e-3)
    assert found.explained == pytest.approx(1, abs=1e-6)
    safe = np.maximum(D, 1e-12)
    curve = Way("curve", D**2, D, 0.2 + D * (0.5 - 0.3 * np.log(safe)))
    found = fit(curve, "logarithmic")
    assert (found.alpha, found.beta) == pytest.approx((0.5, 0.3), abs=2e-3)
    assert found.peak == pytest.approx(D[curve.gold.argmax()], abs=0.02)
    assert fit(curve, "linear").explained < found.explained


def test_ways_are_compared_at_equal_gold() -> None:
    way = Way("hill", D**2, D, 0.2 + D * (1.2 - 0.4 * D))
    assert way.kl_of(0.6) == pytest.approx(((1.2 - (1.44 - 0.64) ** 0.5) / 0.8) ** 2, abs=1e-3)


def test_a_gap_is_at_equal_kl_where_both_go() -> None:
    one, other = Way("one", D**2, D, D), Way("other", (D / 2) ** 2, D, D / 2 + 0.1)
    assert gap(one, other, "gold") == pytest.approx((2.25, 0.1), abs=1e-6)
