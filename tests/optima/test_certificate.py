"""Certificates: what a table of rewards states, and how it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from klrl_envs.optima.certificate import Certificate
from tests.optima.laws import certificate


def test_prompts_are_not_pooled():
    rewards = np.concatenate([np.zeros((1, 400)), np.ones((1, 400))])
    found = certificate(rewards).optimum(0.1)
    assert found.value == pytest.approx(0.5, abs=1e-12)
    assert found.kl == pytest.approx(0.0, abs=1e-9) and found.lower == pytest.approx(found.upper)


def test_the_frontier_is_concave_and_its_slope_is_the_coefficient():
    rng = np.random.default_rng(0)
    certified = certificate(rng.beta(1, 2, size=(3, 4000)))
    kl_coefs = np.geomspace(2.0, 0.05, 200)
    points = certified.frontier(kl_coefs)
    kl = np.array([p.kl for p in points])
    reward = np.array([p.expected_reward for p in points])
    slope = np.diff(reward) / np.diff(kl)
    middle = np.sqrt(kl_coefs[1:] * kl_coefs[:-1])
    assert np.all(np.diff(kl) > 0) and np.all(np.diff(reward) > 0)
    np.testing.assert_allclose(slope, middle, rtol=1e-3)
    for point, kl_coef in zip(points, kl_coefs):
        assert point.value == pytest.approx(point.expected_reward - kl_coef * point.kl, abs=1e-12)
    assert certified.optimum(0.1).frontier([0.1]) == [certified.optimum(0.1).point]


@pytest.mark.parametrize("samples, trusted", [(4000, True), (20, False)])
def test_the_standard_error_is_that_of_a_normal_law_with_the_interval(samples, trusted):
    rewards = np.random.default_rng(0).beta(1, 2, size=(3, samples))
    found = certificate(rewards).optimum(0.2)
    assert ("delta-method interval" in found.method) is trusted
    quantile = 1.959963984540054
    assert found.value_stderr > 0
    assert found.value_stderr == pytest.approx((found.upper - found.lower) / (2 * quantile), rel=1e-12)
    assert json.loads(found.to_json())["value_stderr"] == found.value_stderr


def test_extreme_coefficients_stay_finite():
    rng = np.random.default_rng(0)
    certified = certificate(rng.uniform(-3, 5, size=(3, 400)), (-10.0, 10.0))
    tiny, huge = certified.optimum(1e-6), certified.optimum(1e6)
    assert tiny.value == pytest.approx(certified.rewards.max(axis=1).mean(), abs=1e-4)
    assert -10.0 <= tiny.rigorous_lower <= tiny.value <= tiny.rigorous_upper <= 10.0
    assert huge.value == pytest.approx(huge.reference_value, abs=1e-5)
    assert huge.rigorous_lower <= huge.value <= huge.rigorous_upper
    for found in (tiny, huge):
        json.loads(found.to_json())


def test_effective_sample_size_of_equal_and_of_single_weights():
    assert certificate(np.full((2, 50), 0.5)).effective_sample_size(0.1) == pytest.approx([50, 50])
    spike = np.zeros((1, 50))
    spike[0, 0] = 1.0
    assert certificate(spike).effective_sample_size(0.01) == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("rewards", "bounds", "message"),
    [
        (np.zeros(3), (0.0, 1.0), r"rewards must have shape \[prompts, samples\].*\(3,\)"),
        (np.zeros((3, 1)), (0.0, 1.0), r"got \(3, 1\)"),
        (np.full((1, 3), 1.5), (0.0, 1.0), r"rewards must lie in the declared \[0.0, 1.0\], got 1.5 to 1.5"),
        (np.full((1, 3), np.nan), (0.0, 1.0), "got nan to nan"),
        (np.zeros((1, 3)), (1.0, 0.0), "reward_range must be finite"),
        (np.zeros((1, 3)), (0.0, np.inf), "reward_range must be finite"),
    ],
)
def test_bad_tables_are_refused(rewards, bounds, message):
    with pytest.raises(ValueError, match=message):
        certificate(rewards, bounds)


@pytest.mark.parametrize("kl_coef", [0.0, -0.1, float("nan")])
def test_bad_coefficients_are_refused(kl_coef):
    certified = certificate(np.zeros((1, 3)))
    for question in (certified.optimum, certified.tilt, certified.bounds):
        with pytest.raises(ValueError, match=f"kl_coef must be a finite number above 0, got {kl_coef}"):
            question(kl_coef)
    with pytest.raises(ValueError, match=r"confidence must be between 0 and 1, got 1\.0"):
        certified.bounds(0.1, 1.0)


def test_save_and_load(tmp_path: Path):
    rng = np.random.default_rng(0)
    certified = certificate(rng.random((3, 40)))
    certified.save(tmp_path / "deep" / "c.safetensors")
    again = Certificate.load(tmp_path / "deep" / "c.safetensors")
    assert again.rewards.dtype == np.float32
    np.testing.assert_array_equal(again.rewards, certified.rewards)
    assert again.optimum(0.1) == certified.optimum(0.1)
    assert (again.fingerprint, again.env_id, dict(again.metadata)) == (
        certified.fingerprint,
        certified.env_id,
        {"seed": "0"},
    )
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["c.safetensors"]


def test_what_is_no_certificate_is_refused(tmp_path: Path):
    from safetensors.numpy import save_file

    with pytest.raises(FileNotFoundError, match="no certificate at"):
        Certificate.load(tmp_path / "missing.safetensors")
    (tmp_path / "damaged").write_bytes(b"not a table")
    with pytest.raises(ValueError, match="damaged or no certificate"):
        Certificate.load(tmp_path / "damaged")
    save_file({"rewards": np.zeros((1, 3), dtype=np.float32)}, tmp_path / "other")
    with pytest.raises(ValueError, match="has no header"):
        Certificate.load(tmp_path / "other")
