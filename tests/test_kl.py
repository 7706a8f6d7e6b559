"""KL: closed forms, estimators whose bias is found by enumeration, the adaptive coefficient."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klrl_envs.kl import AdaptiveCoefficient, check_kl_coef, k1, k2, k3, kl_divergence


def rows(seed: int, count: int = 50, vocabulary: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = np.log(rng.dirichlet(np.ones(vocabulary), size=(2, count)))
    return first, second


def test_two_outcomes_have_the_known_divergence():
    p, q = 0.9, 0.3
    known = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert kl_divergence(np.log([p, 1 - p]), np.log([q, 1 - q])) == pytest.approx(known, abs=1e-15)


def test_a_point_mass_costs_the_log_of_the_vocabulary():
    point = np.full(2048, -np.inf)
    point[7] = 0.0
    assert kl_divergence(point, np.full(2048, -np.log(2048))) == pytest.approx(np.log(2048), abs=1e-12)


def test_support_outside_the_reference_costs_infinity_and_shared_holes_nothing():
    half, first = np.log([0.5, 0.5]), np.array([0.0, -np.inf])
    assert kl_divergence(half, first) == np.inf
    assert kl_divergence(first, first) == 0.0


def test_divergence_keeps_leading_axes_and_computes_in_float64():
    log_pi, log_pi0 = rows(0, count=6)
    stacked = kl_divergence(
        log_pi.reshape(2, 3, -1).astype(np.float32), log_pi0.reshape(2, 3, -1).astype(np.float32)
    )
    assert stacked.shape == (2, 3) and stacked.dtype == np.float64
    np.testing.assert_allclose(stacked.ravel(), kl_divergence(log_pi, log_pi0), rtol=1e-5)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((3, 0), (3, 0)), ((), (4,))])
def test_divergence_refuses_other_shapes(shapes):
    with pytest.raises(ValueError, match="last axis"):
        kl_divergence(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_enumerated_means_show_k1_and_k3_unbiased_and_k2_not():
    log_pi, log_pi0 = rows(1)
    exact = kl_divergence(log_pi, log_pi0)
    mean = {e.__name__: (np.exp(log_pi) * e(log_pi - log_pi0)).sum(axis=1) for e in (k1, k2, k3)}
    np.testing.assert_allclose(mean["k1"], exact, atol=1e-13)
    np.testing.assert_allclose(mean["k3"], exact, atol=1e-12)
    assert (np.abs(mean["k2"] - exact) > 0.05 * exact).mean() > 0.5


def gradients(log_pi: np.ndarray, log_pi0: np.ndarray) -> dict[str, np.ndarray]:
    """Enumerated gradients with respect to the logits of one row; score[x] = d log pi(x) / d logits."""
    pi, log_ratio = np.exp(log_pi), log_pi - log_pi0
    score = np.eye(pi.size) - pi

    def moved(function: Callable[[np.ndarray], np.ndarray], by: float = 1e-5) -> np.ndarray:
        """Central differences of function(log pi) [...] with respect to the logits, [V, ...]."""
        shifted = [log_pi + sign * step for step in by * np.eye(pi.size) for sign in (1, -1)]
        ends = [function(logits - np.logaddexp.reduce(logits)) for logits in shifted]
        return (np.array(ends[::2]) - np.array(ends[1::2])) / (2 * by)

    return {
        "reverse": moved(lambda moving: kl_divergence(moving, log_pi0)),
        "forward": moved(lambda moving: kl_divergence(log_pi0, moving)),
        **{f"{k.__name__} in reward": (pi * k(log_ratio)) @ score for k in (k1, k3)},
        **{f"{k.__name__} in loss": moved(lambda at, k=k: k(at - log_pi0)) @ pi for k in (k1, k2, k3)},
    }


def test_docstrings_tell_the_truth_about_gradients():
    log_pi, log_pi0 = rows(2)
    for row, reference in zip(log_pi, log_pi0):
        g = gradients(row, reference)
        np.testing.assert_allclose(g["k1 in reward"], g["reverse"], atol=1e-8)
        np.testing.assert_allclose(g["k3 in reward"], g["reverse"] - g["forward"], atol=1e-8)
        np.testing.assert_allclose(g["k1 in loss"], 0.0, atol=1e-8)
        np.testing.assert_allclose(g["k2 in loss"], g["reverse"], atol=1e-8)
        np.testing.assert_allclose(g["k3 in loss"], g["forward"], atol=1e-8)


@given(st.floats(-700, 700))
def test_k2_and_k3_are_never_negative(log_ratio):
    assert k2(log_ratio) >= 0 and k3(log_ratio) >= 0


def test_k3_near_zero_keeps_its_digits():
    assert k3(1e-6) == pytest.approx(5e-13, rel=1e-3)


def test_adaptive_coefficient_follows_its_rule():
    coefficient = AdaptiveCoefficient(0.1, target=6.0)
    assert coefficient.update(kl=6.6, episodes=500) == pytest.approx(0.1 * (1 + 0.1 * 500 / 10_000))
    clipped = AdaptiveCoefficient(0.1, target=6.0)
    assert clipped.update(kl=60.0, episodes=500) == pytest.approx(0.1 * 1.01)
    assert clipped.update(kl=-1.0, episodes=500) == pytest.approx(0.1 * 1.01 * 0.99)
    assert clipped.update(kl=6.0, episodes=500) == pytest.approx(0.1 * 1.01 * 0.99)


def test_adaptive_coefficient_steers_to_its_target():
    # at the optimum of a Gaussian-like frontier KL* = c / coefficient^2
    coefficient = AdaptiveCoefficient(1.0, target=4.0)
    for _ in range(20_000):
        coefficient.update(kl=0.01 / coefficient.coefficient**2, episodes=64)
    assert coefficient.coefficient == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("name", ["coefficient", "target", "horizon", "clip"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_adaptive_coefficient_refuses(name, value):
    arguments = {"coefficient": 0.1, "target": 6.0, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0"):
        AdaptiveCoefficient(**arguments)


def test_adaptive_coefficient_refuses_bad_batches():
    coefficient = AdaptiveCoefficient(0.1, target=6.0)
    with pytest.raises(ValueError, match="kl must be finite"):
        coefficient.update(kl=float("nan"), episodes=1)
    with pytest.raises(ValueError, match="below horizon / clip"):
        coefficient.update(kl=1.0, episodes=50_000)


@pytest.mark.parametrize("value", [0, 0.0, -0.05, float("nan"), float("inf"), "0.1", None])
def test_a_coefficient_without_an_optimum_is_named(value):
    with pytest.raises(ValueError, match="kl_coef must be a finite number above 0, got"):
        check_kl_coef(value)


def test_a_coefficient_may_be_of_any_real_type():
    assert check_kl_coef(1) == check_kl_coef(np.float32(1)) == 1.0
