"""Certificates: intervals that cover, bounds that hold, and the way from an environment to its optimum."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.special import hyp1f1

import klrl_envs
from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.optima.certificate import TRUSTED_SAMPLES, Certificate, binary_kl, mean_bounds
from klrl_envs.optima.certify import LANES, certify, sample_rewards
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import NotCertified, certificate_name, optimum
from klrl_envs.reference.markov import MarkovReference, UniformReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.base import Prompts, TextTask

NORMAL = 1.959963984540054


def certificate(rewards: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0)) -> Certificate:
    return Certificate(rewards.astype(np.float32), bounds, "f" * 64, "klrl/Test-v0", {"seed": "0"})


# Rewards that are Beta(a, b) distributed, another law a prompt: E exp(lambda r) = 1F1(a, a + b, lambda).


def beta_law(prompts: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.4, 2.0, size=prompts), rng.uniform(0.6, 3.0, size=prompts)


def beta_truth(a: np.ndarray, b: np.ndarray, kl_coef: float) -> tuple[float, float, float]:
    """(J*, E*[r], KL*), means over prompts."""
    rate = 1.0 / kl_coef
    log_z = np.log(hyp1f1(a, a + b, rate))
    reward = a / (a + b) * hyp1f1(a + 1, a + b + 1, rate) / hyp1f1(a, a + b, rate)
    return float(kl_coef * log_z.mean()), float(reward.mean()), float((rate * reward - log_z).mean())


def binary_truth(chance: np.ndarray, kl_coef: float) -> tuple[float, float, float]:
    z = 1 - chance + chance * math.exp(1 / kl_coef)
    reward = chance * math.exp(1 / kl_coef) / z
    return (
        float(kl_coef * np.log(z).mean()),
        float(reward.mean()),
        float((reward / kl_coef - np.log(z)).mean()),
    )


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


def test_mean_bounds_of_nothing_seen_are_the_closed_form():
    lower, upper = mean_bounds(np.zeros((1, 1000)), 0.01)
    assert lower[0] == 0.0 and upper[0] == pytest.approx(-math.expm1(math.log(0.01) / 1000), rel=1e-12)
    assert binary_kl(0.0, 0.3) == pytest.approx(-math.log(0.7))
    assert binary_kl(1.0, 0.3) == pytest.approx(-math.log(0.3))


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


# From an environment to its optimum.


def tiny_reference() -> Any:
    rows = np.log(np.random.default_rng(2).dirichlet(np.ones(4), size=5))
    return MarkovReference(rows[-1], rows[:-1])


SHARE = RewardAutomaton(
    np.minimum(np.arange(6)[:, None] + (np.arange(4) == 2), 5), final_reward=np.arange(6) / 5
)
"""Counts token 2, up to five; token 3 ends."""


def score_tiny(tokens, lengths, texts):
    written = np.arange(tokens.shape[1]) < lengths[:, None]
    return np.minimum(((tokens == 2) & written).sum(axis=1), 5) / 5, {}


def tiny_text_task(kl_coef: float = 0.2, horizon: int = 5) -> TextTask:
    """The task of SHARE, told as a text task whose prompts are single tokens."""
    return TextTask(
        id="Tiny-v0",
        reference=tiny_reference(),
        vocabulary=WordVocabulary(("a", "b", "c", "."), 3),
        horizon=horizon,
        end_token=3,
        kl_coef=kl_coef,
        reward_range=(0.0, 1.0),
        prompts=Prompts.equal(np.array([[0], [1]])),
        reward_fingerprint="0" * 64,
        score_texts=score_tiny,
    )


def exact_tiny(kl_coef: float, horizon: int = 5) -> tuple[float, float, float]:
    """Mean over the two prompts of (J*, E*[r], KL*), solved."""
    reference, results = tiny_reference(), []
    for prompt in (0, 1):
        after = MarkovReference(reference.table[prompt], reference.table[:4])
        solved = klrl_envs.optimum(
            klrl_envs.exact_task(after, SHARE, horizon=horizon, kl_coef=kl_coef, end_token=3)
        )
        results.append((solved.value, solved.expected_reward, solved.kl))
    mean = np.mean(results, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


def test_certified_and_solved_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    task = tiny_text_task()
    env = TokenEnv(task)
    with pytest.raises(NotCertified, match="klrl certify Tiny-v0"):
        optimum(env)
    assert issubclass(NotCertified, LookupError)
    made = certify(task, 20_000, seed=1)
    found = optimum(env)
    truth = exact_tiny(task.kl_coef)
    assert (tmp_path / "certificates" / certificate_name(task)).is_file()
    assert found == made.optimum(task.kl_coef) == optimum(TokenVectorEnv(task, 3))
    assert not found.exact and found.policy is None and found.certificate is not None
    assert found.lower - 1e-3 <= truth[0] <= found.upper + 1e-3 and found.upper - found.lower < 0.02
    assert abs(found.value - truth[0]) < 4 * (found.upper - found.lower) / (2 * NORMAL)
    assert abs(found.expected_reward - truth[1]) < 4 * found.expected_reward_stderr
    assert abs(found.kl - truth[2]) < 4 * found.kl_stderr
    assert found.rigorous_lower < truth[0] < found.rigorous_upper
    assert found.log_partition is not None and found.log_partition.shape == (2,)
    # another coefficient is read from the same samples, another horizon is another task
    assert optimum(TokenEnv(tiny_text_task(kl_coef=0.5))).value == made.optimum(0.5).value
    with pytest.raises(NotCertified):
        optimum(TokenEnv(tiny_text_task(horizon=4)))


def test_a_certificate_of_another_task_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    task = tiny_text_task()
    certificate(np.zeros((2, 5))).save(tmp_path / "certificates" / certificate_name(task))
    with pytest.raises(ValueError, match="is the certificate of another task"):
        optimum(TokenEnv(task))


def test_an_interrupted_certificate_is_taken_up_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("klrl_envs.optima.certify.SAVE_SECONDS", -1.0)
    task, out = tiny_text_task(), tmp_path / "c.safetensors"
    whole = certify(task, 700, seed=3, out=tmp_path / "whole.safetensors")
    sampled: list[int] = []

    def counted(task, prompt, count, seed):
        sampled.append(prompt)
        return sample_rewards(task, prompt, count, seed)

    def interrupt(done: int, total: int, seconds_left: float) -> None:
        assert (done, total) == (1, 2) and seconds_left >= 0
        raise KeyboardInterrupt

    monkeypatch.setattr("klrl_envs.optima.certify.sample_rewards", counted)
    with pytest.raises(KeyboardInterrupt):
        certify(task, 700, seed=3, out=out, progress=interrupt)
    partial = tmp_path / "c.safetensors.partial"
    assert partial.is_file() and not out.exists()
    with pytest.raises(ValueError, match="was made with seed 3, not 4"):
        certify(task, 700, seed=4, out=out)
    resumed = certify(task, 700, seed=3, out=out)
    assert sampled == [0, 1] and not partial.exists()
    np.testing.assert_array_equal(resumed.rewards, whole.rewards)
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    certify(task, 700, seed=3, out=out)
    assert sampled == [0, 1]
    with pytest.raises(ValueError, match=r"was made with shape \(2, 700\), not \(2, 701\)"):
        certify(task, 701, seed=3, out=out)


def test_streams_differ_by_prompt_and_seed_and_extend():
    task = tiny_text_task()
    first = sample_rewards(task, 0, LANES + 10, 0)
    np.testing.assert_array_equal(first[:20], sample_rewards(task, 0, 20, 0))
    assert not np.array_equal(first, sample_rewards(task, 0, LANES + 10, 1))
    assert not np.array_equal(first, sample_rewards(task, 1, LANES + 10, 0))
    assert not np.array_equal(first[:10], first[LANES:])


def test_certify_refuses(tmp_path: Path):
    out = tmp_path / "c.safetensors"
    with pytest.raises(ValueError, match="samples_per_prompt must be at least 2, got 1"):
        certify(tiny_text_task(), 1, out=out)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        certify(tiny_text_task(), 10, seed=-1, out=out)
    scattered = RewardAutomaton(SHARE.transition, final_reward=SHARE.final_reward, start=np.full(6, 1 / 6))
    env: Any = klrl_envs.exact_task(tiny_reference(), scattered, horizon=3, kl_coef=0.1)
    with pytest.raises(ValueError, match="random beside its tokens"):
        certify(env.unwrapped.task, 10, out=out)


def test_the_optimum_of_the_grid_by_id_and_by_environment():
    by_id = klrl_envs.optimum("klrl/GridNavigation-v0")
    assert by_id.exact and by_id.env_id == "klrl/GridNavigation-v0" and by_id.policy is not None
    assert by_id.lower == by_id.value == by_id.upper
    assert klrl_envs.optimum("GridNavigation-v0") is by_id
    assert klrl_envs.optimum("klrl/GridNavigationFeatures-v0") is by_id
    single = gym.make("klrl/GridNavigation-v0")
    lanes = gym.make_vec("klrl/GridNavigation-v0", num_envs=2)
    assert klrl_envs.optimum(single) is by_id and klrl_envs.optimum(lanes) is by_id
    other = klrl_envs.optimum("klrl/GridNavigation-v0", kl_coef=1.0)
    assert other.kl_coef == 1.0 and other.value > by_id.value and other.kl > by_id.kl
    assert by_id.frontier([8.0, 1.0]) == [by_id.point, other.point]
    slip = klrl_envs.optimum("klrl/GridNavigation-v0", slip=0.2)
    assert slip.value < by_id.value


def test_the_environment_s_own_policy_evaluates_to_its_optimum():
    env: Any = gym.make("klrl/GridNavigation-v0", slip=0.1)
    best, task = klrl_envs.optimum(env), env.unwrapped.task
    assert best.policy is not None
    found = evaluate_markov(best.policy.problem, best.policy.log_probs, kl_coef=task.kl_coef)
    assert found.objective == pytest.approx(best.value, abs=1e-9)
    assert found.kl == pytest.approx(best.kl, abs=1e-9)


def test_optima_are_plain_in_json():
    plain = json.loads(klrl_envs.optimum("klrl/GridNavigation-v0").to_json())
    assert plain["exact"] is True and plain["kl_coef"] == 8.0 and plain["effective_samples"] is None
    assert set(plain).isdisjoint({"policy", "certificate"})


@pytest.mark.parametrize("kl_coef", [0, -0.5, float("nan")])
def test_a_coefficient_without_an_optimum_is_refused(kl_coef):
    with pytest.raises(ValueError, match=f"kl_coef must be a finite number above 0, got {kl_coef}"):
        klrl_envs.optimum("klrl/Keywords-v0", kl_coef=kl_coef)


def test_what_is_no_environment_is_refused():
    with pytest.raises(TypeError, match="env_or_id must be an id or an environment"):
        klrl_envs.optimum(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="unknown environment 'klrl/Nowhere-v0'"):
        klrl_envs.optimum("klrl/Nowhere-v0")
    with pytest.raises(TypeError, match="arguments go with an id"):
        klrl_envs.optimum(gym.make("klrl/GridNavigation-v0"), kl_coef=1.0)


def test_the_cache_of_solutions_is_bounded():
    from klrl_envs.optima import optimum as module

    for kl_coef in np.linspace(0.5, 1.0, module.CACHED_SOLUTIONS + 3):
        env = klrl_envs.exact_task(UniformReference(4), SHARE, horizon=3, kl_coef=float(kl_coef))
        assert klrl_envs.optimum(env) is klrl_envs.optimum(env)
    assert len(module._solved) == module.CACHED_SOLUTIONS
