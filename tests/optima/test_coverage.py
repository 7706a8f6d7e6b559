"""Certificates: intervals that cover, bounds that hold, estimates without their first-order bias."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import hyp1f1

from klrl_envs.optima.bounds import binary_kl, mean_bounds
from klrl_envs.optima.certificate import TRUSTED_SAMPLES, Certificate
from tests.optima.laws import beta_law, beta_truth, binary_truth, certificate

pytestmark = pytest.mark.slow

NORMAL = 1.959963984540054


def replicate(certified: Certificate, kl_coef: float, prompts: int) -> dict[str, np.ndarray]:
    """Certificates of `prompts` rows each, all at once: estimates and standard errors float64[R].

    What `Certificate.optimum` makes of one row after another, which the test below compares.
    """
    tilt = certified.tilt(kl_coef)
    log_z, reward = (x.reshape(-1, prompts).mean(axis=1) for x in (tilt.log_partition, tilt.reward))
    log_z_error, reward_error, kl_error, reference_error = (
        np.sqrt(x.reshape(-1, prompts).sum(axis=1)) / prompts
        for x in (
            tilt.log_partition_variance,
            tilt.reward_variance,
            tilt.kl_variance,
            certified.rewards.astype(np.float64).var(axis=1, ddof=1) / certified.samples,
        )
    )
    reference = certified.rewards.astype(np.float64).mean(axis=1).reshape(-1, prompts).mean(axis=1)
    return {
        "value": kl_coef * log_z,
        "value_error": kl_coef * log_z_error,
        "reward": reward,
        "reward_error": reward_error,
        "kl": reward / kl_coef - log_z,
        "kl_error": kl_error,
        "reference": reference,
        "reference_error": reference_error,
        "effective": 1 / (1 / tilt.effective_samples).reshape(-1, prompts).mean(axis=1),
    }


@pytest.mark.parametrize(
    ("law", "kl_coef", "prompts", "samples"),
    [("beta", 0.1, 4, 700), ("beta", 0.3, 1, 300), ("binary", 0.05, 4, 1000), ("beta", 0.1, 16, 1800)],
)
def test_delta_intervals_cover(law, kl_coef, prompts, samples):
    """95 +- 2 % for J*, E*[r], KL* and J(pi0), at sample sizes near the least that are trusted."""
    rng = np.random.default_rng(17)
    replications = 1500 if prompts < 10 else 500
    if law == "beta":
        a, b = beta_law(prompts)
        truth, mean = beta_truth(a, b, kl_coef), float((a / (a + b)).mean())
        rewards = rng.beta(a[:, None], b[:, None], size=(replications, prompts, samples))
    else:
        a = rng.uniform(0.05, 0.3, size=prompts)
        truth, mean = binary_truth(a, kl_coef), float(a.mean())
        rewards = rng.random((replications, prompts, samples)) < a[:, None]
    found = replicate(certificate(rewards.reshape(-1, samples)), kl_coef, prompts)
    assert found["effective"].min() > TRUSTED_SAMPLES
    for name, known in zip(("value", "reward", "kl", "reference"), (*truth, mean)):
        covered = np.abs(found[name] - known) <= NORMAL * found[f"{name}_error"]
        assert abs(covered.mean() - 0.95) <= 0.02, (name, covered.mean())
    one = certificate(rewards[7]).optimum(kl_coef)
    half = NORMAL * found["value_error"][7]
    assert (one.value, one.lower, one.upper) == pytest.approx(
        (found["value"][7], found["value"][7] - half, found["value"][7] + half), abs=1e-12
    )
    assert (one.expected_reward_stderr, one.kl_stderr, one.reference_value_stderr) == pytest.approx(
        (found["reward_error"][7], found["kl_error"][7], found["reference_error"][7]), abs=1e-12
    )


@pytest.mark.parametrize(
    ("law", "kl_coef", "prompts", "samples"),
    [("beta", 0.03, 2, 400), ("beta", 0.05, 4, 300), ("rare", 0.1, 2, 500), ("binary", 0.02, 1, 150)],
)
def test_few_effective_samples_make_wide_intervals(law, kl_coef, prompts, samples):
    """Below the trusted number J*, E*[r] and KL* have intervals from bounds, and these hold."""
    rng = np.random.default_rng(29)
    a, b = beta_law(prompts)
    if law != "beta":
        a = np.full(prompts, 0.2 if law == "binary" else 0.02)
    truth = beta_truth(a, b, kl_coef) if law == "beta" else binary_truth(a, kl_coef)
    replications, held, seen = 300, np.zeros(3), []
    for _ in range(replications):
        size = (prompts, samples)
        rewards = (
            rng.beta(a[:, None], b[:, None], size=size) if law == "beta" else rng.random(size) < a[:, None]
        )
        found = certificate(rewards).optimum(kl_coef)
        assert found.effective_samples is not None
        seen.append(found.effective_samples)
        intervals = ((found.lower, found.upper), found.expected_reward_interval, found.kl_interval)
        held += [low <= known <= high for (low, high), known in zip(intervals, truth)]
        assert "rigorous bounds" in found.method or found.effective_samples >= TRUSTED_SAMPLES
        assert found.frontier([kl_coef])[0].effective_samples == found.effective_samples
    assert np.median(seen) < 50, "the settings ask for few effective samples"
    assert (held / replications >= 0.95).all(), held / replications


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize(
    ("law", "kl_coef", "prompts", "samples"),
    [("binary", 0.1, 1, 30), ("binary", 0.1, 4, 200), ("rare", 0.05, 2, 500), ("beta", 0.1, 2, 50)],
)
def test_rigorous_bounds_hold(law, kl_coef, prompts, samples, confidence):
    rng = np.random.default_rng(23)
    a, b = beta_law(prompts)
    if law != "beta":
        a = np.full(prompts, 0.3 if law == "binary" else 2e-3)
    truth = (beta_truth(a, b, kl_coef) if law == "beta" else binary_truth(a, kl_coef))[0]
    replications, violated = 200, 0
    for _ in range(replications):
        size = (prompts, samples)
        rewards = (
            rng.beta(a[:, None], b[:, None], size=size) if law == "beta" else rng.random(size) < a[:, None]
        )
        lower, upper = certificate(rewards).bounds(kl_coef, confidence)
        assert 0.0 <= lower <= upper <= 1.0
        violated += not lower <= truth <= upper
    assert violated / replications <= 1 - confidence


def test_a_rare_best_text_that_was_never_seen_stays_inside_the_rigorous_bounds():
    """All samples pay 0, one text in a million pays 1: the delta method is certain, and wrong."""
    rewards = np.zeros((4, 2000))
    found = certificate(rewards).optimum(0.05)
    truth = binary_truth(np.full(4, 1e-6), 0.05)[0]
    assert found.rigorous_lower <= truth <= found.rigorous_upper


def test_few_effective_samples_fall_back_on_rigorous_bounds():
    rng = np.random.default_rng(3)
    certified = certificate(rng.beta(1, 3, size=(4, 500)))
    trusted, hopeless = certified.optimum(0.3), certified.optimum(0.005)
    assert trusted.effective_samples is not None and trusted.effective_samples > TRUSTED_SAMPLES
    assert "delta-method" in trusted.method
    assert hopeless.effective_samples is not None and hopeless.effective_samples < TRUSTED_SAMPLES
    assert "rigorous bounds" in hopeless.method
    assert (hopeless.lower, hopeless.upper) == (hopeless.rigorous_lower, hopeless.rigorous_upper)
    assert hopeless.lower <= beta_truth(np.ones(4), np.full(4, 3.0), 0.005)[0] <= hopeless.upper


def test_the_correction_removes_the_first_order_bias():
    """Few samples: the plug-in estimate misses by beta CV^2/(2K), the corrected one by far less."""
    rng = np.random.default_rng(11)
    kl_coef, samples, replications = 0.2, 200, 20_000
    truth = beta_truth(np.ones(1), np.full(1, 3.0), kl_coef)
    rewards = rng.beta(1.0, 3.0, size=(replications, samples)).astype(np.float32)
    found = replicate(certificate(rewards), kl_coef, 1)
    plug_in = kl_coef * np.log(np.exp(rewards.astype(np.float64) / kl_coef).mean(axis=1)) - truth[0]
    z = hyp1f1(1, 4, 1 / kl_coef)
    known = -kl_coef * (hyp1f1(1, 4, 2 / kl_coef) / z**2 - 1) / (2 * samples)
    error = plug_in.std() / math.sqrt(replications)
    assert known < -6 * error
    assert plug_in.mean() == pytest.approx(known, abs=4 * error)
    assert abs((found["value"] - truth[0]).mean()) < 4 * error
    tilted = rewards * np.exp(rewards / kl_coef)
    raw = tilted.mean(axis=1) / np.exp(rewards / kl_coef).mean(axis=1) - truth[1]
    corrected = found["reward"] - truth[1]
    assert abs(corrected.mean()) < 0.3 * abs(raw.mean())


def test_mean_bounds_of_nothing_seen_are_the_closed_form():
    lower, upper = mean_bounds(np.zeros((1, 1000)), 0.01)
    assert lower[0] == 0.0 and upper[0] == pytest.approx(-math.expm1(math.log(0.01) / 1000), rel=1e-12)
    assert binary_kl(0.0, 0.3) == pytest.approx(-math.log(0.7))
    assert binary_kl(1.0, 0.3) == pytest.approx(-math.log(0.3))
