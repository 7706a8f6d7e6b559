"""Certificates: J* of a task whose states cannot be enumerated, from samples of its reference.

With r in [a, b], w = exp((r - b)/beta) in (0, 1] and mu_p = E_0[w | prompt p], the optimum over the fixed
prompts is J* = mean_p (b + beta log mu_p). Prompts are never pooled: one Z for all would be a larger number,
which no policy reaches. The samples are kept as a table of rewards, so that one certificate holds J*, its
interval, E*[r], KL* and hence the frontier of every kl_coef.

Estimates. The plug-in log of a mean is biased low by CV^2/(2K) to first order, CV the coefficient of
variation of w and K the samples of a prompt. The correction is added, prompt by prompt: it is far below
the interval where this holds anything, and without it more prompts would narrow the interval around a
biased number. E*[r] is the derivative of the corrected log Z in 1/beta (which corrects the bias of the
self-normalised estimate too), so that the frontier keeps its slope d E*[r] / d KL* = beta exactly.

Intervals. `Optimum.lower` and `upper` are the delta method's: the standard error is
sqrt(sum_p (beta CV_p)^2 / K) / P. It needs enough effective samples; below `TRUSTED_SAMPLES` the rigorous
bounds stand in. Those (Maurer and Pontil 2009, arXiv 0907.3740, theorem 4; Chernoff's in the form
K kl(m || mu) <= log 1/delta) hold at any sample size for any law of r, as they spend the declared b, never a
sample maximum; split over prompts they are several times wider.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.result import FrontierPoint, Optimum
from klrl_envs.reference.arrays import FloatArray

CONFIDENCE = 0.95
TRUSTED_SAMPLES = 100.0
"""Harmonic mean of the prompts' effective sample sizes from which the delta method is believed: in simulation
95 % intervals cover from there on; with 20 to 60 those of J* cover at .91 to .94, of KL* at .77 to .91."""

SCHEMA = "klrl certificate 1"


@dataclass(frozen=True)
class Tilt:
    """The samples reweighted to pi* at one kl_coef; arrays are float64[P], one entry a prompt.

    Attributes:
        log_partition: log Z, corrected for bias.
        reward: E*[r], corrected for bias.
        effective_samples: (sum w)^2 / sum w^2, between 1 and K.
        log_partition_variance: of log_partition.
        reward_variance: of reward.
        kl_variance: of reward / beta - log_partition.
    """

    log_partition: FloatArray
    reward: FloatArray
    effective_samples: FloatArray
    log_partition_variance: FloatArray
    reward_variance: FloatArray
    kl_variance: FloatArray


@dataclass(frozen=True, eq=False)
class Certificate:
    """Rewards of K reference samples for each of P fixed prompts, and what follows from them.

    Attributes:
        rewards: float32[P, K], independent given the prompts.
        reward_range: (a, b), bounds of the reward by definition of the task.
        fingerprint: of the task, so that a certificate is never used for another.
        env_id: the environment.
        metadata: strings: how the samples were made.

    Raises:
        ValueError: rewards of another shape, fewer than two a prompt, or out of their range.
    """

    rewards: NDArray[np.float32]
    reward_range: tuple[float, float]
    fingerprint: str
    env_id: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.rewards.ndim != 2 or self.rewards.shape[0] < 1 or self.rewards.shape[1] < 2:
            raise ValueError(
                f"rewards must have shape [prompts, samples] with at least 1 and 2, got {self.rewards.shape}"
            )
        low, high = self.reward_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"reward_range must be finite and (low, high) with low < high, got {(low, high)}"
            )
        check_rewards(self.rewards, self.reward_range)

    @property
    def prompts(self) -> int:
        """P."""
        return self.rewards.shape[0]

    @property
    def samples(self) -> int:
        """K, samples of each prompt."""
        return self.rewards.shape[1]

    @cached_property
    def _values(self) -> FloatArray:
        """The rewards in float64, clipped to the range (float32 may round past a bound)."""
        low, high = self.reward_range
        return np.minimum(np.maximum(self.rewards.astype(np.float64), low), high)

    @cached_property
    def reference_value(self) -> float:
        """J(pi0), the mean reward."""
        return float(self._values.mean())

    @cached_property
    def reference_value_stderr(self) -> float:
        """Standard error of `reference_value` over fixed prompts."""
        return _stderr(self._values.var(axis=1, ddof=1) / self.samples)

    def tilt(self, kl_coef: float) -> Tilt:
        """The samples reweighted by exp(r / kl_coef), prompt by prompt.

        Raises:
            ValueError: kl_coef is not a finite number above 0.
        """
        kl_coef = check_kl_coef(kl_coef)
        rewards, count = self._values, self.samples
        top = rewards.max(axis=1, keepdims=True)
        weights = np.exp((rewards - top) / kl_coef)
        mean = weights.mean(axis=1, keepdims=True)
        weights /= mean
        deviation = rewards - (weights * rewards).mean(axis=1, keepdims=True)
        squares = (weights * weights).mean(axis=1)
        skew = (weights * weights * deviation).mean(axis=1)
        # influence of a sample on log Z is w - 1, on E*[r] it is w (r - E*[r])
        unbiased = count / (count - 1)
        log_influence = weights - 1.0
        reward_influence = weights * deviation
        return Tilt(
            log_partition=top[:, 0] / kl_coef + np.log(mean[:, 0]) + (squares - 1.0) / (2 * count),
            reward=(weights * rewards).mean(axis=1) + skew / count,
            effective_samples=count / squares,
            log_partition_variance=unbiased * (log_influence**2).mean(axis=1) / count,
            reward_variance=unbiased * (reward_influence**2).mean(axis=1) / count,
            kl_variance=unbiased * ((reward_influence / kl_coef - log_influence) ** 2).mean(axis=1) / count,
        )

    def log_partition(self, kl_coef: float) -> FloatArray:
        """log Z(prompt) = log E_0[exp(r / kl_coef) | prompt], float64[P], nats."""
        return self.tilt(kl_coef).log_partition

    def effective_sample_size(self, kl_coef: float) -> FloatArray:
        """(sum w)^2 / sum w^2 of each prompt, float64[P], between 1 and K."""
        return self.tilt(kl_coef).effective_samples

    def optimum(self, kl_coef: float) -> Optimum:
        """J* at kl_coef with its 95 % interval, rigorous bounds beside it, E*[r] and KL*.

        Raises:
            ValueError: kl_coef is not a finite number above 0.
        """
        kl_coef = check_kl_coef(kl_coef)
        tilt = self.tilt(kl_coef)
        point = _point(kl_coef, tilt)
        rigorous = self.bounds(kl_coef, CONFIDENCE)
        effective = 1.0 / float((1.0 / tilt.effective_samples).mean())
        half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * kl_coef * _stderr(tilt.log_partition_variance)
        lower, upper = point.value - half, point.value + half
        kind = "delta-method interval"
        if effective < TRUSTED_SAMPLES:
            lower, upper = min(rigorous[0], point.value), max(rigorous[1], point.value)
            kind = f"rigorous bounds, as {effective:.3g} effective samples are too few for the delta method"
        return Optimum(
            env_id=self.env_id,
            kl_coef=kl_coef,
            value=point.value,
            lower=lower,
            upper=upper,
            exact=False,
            reference_value=self.reference_value,
            reference_value_stderr=self.reference_value_stderr,
            expected_reward=point.expected_reward,
            expected_reward_stderr=_stderr(tilt.reward_variance),
            kl=point.kl,
            kl_stderr=_stderr(tilt.kl_variance),
            rigorous_lower=rigorous[0],
            rigorous_upper=rigorous[1],
            effective_samples=effective,
            method=f"{self.samples:,} reference samples for each of {self.prompts} prompts, {kind}",
            certificate=self,
        )

    def frontier(self, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
        """What pi* reaches at each of kl_coefs, all from the same samples.

        The sampled frontier has a precedent: Ziegler et al. 2019, arXiv 1909.08593, figure 3.

        Raises:
            ValueError: a kl_coef that is not a finite number above 0.
        """
        return [_point(check_kl_coef(kl_coef), self.tilt(kl_coef)) for kl_coef in kl_coefs]

    def bounds(self, kl_coef: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Bounds of J* that hold with probability `confidence` at any sample size and any law of r.

        The chance of failure is split evenly over prompts, over the two sides, and over the empirical
        Bernstein and the Chernoff bound, of which the better is taken.

        Raises:
            ValueError: kl_coef is not a finite number above 0, or confidence is not in (0, 1).
        """
        kl_coef = check_kl_coef(kl_coef)
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence!r}")
        low, high = self.reward_range
        failure = (1.0 - confidence) / (4 * self.prompts)
        smallest = math.exp((low - high) / kl_coef)
        if smallest == 1.0:  # a kl_coef so large that float64 cannot tell the weights apart
            return low, high
        weights = np.exp((self._values - high) / kl_coef)
        # on [0, 1]: (w - smallest) / (1 - smallest)
        below, above = mean_bounds((weights - smallest) / (1.0 - smallest), failure)
        bounds: list[float] = []
        for mean in (below, above):
            with np.errstate(divide="ignore"):
                of_prompt = high + kl_coef * np.log(smallest + (1.0 - smallest) * mean)
            bounds.append(float(np.mean(np.minimum(np.maximum(of_prompt, low), high))))
        return bounds[0], bounds[1]

    def save(self, path: str | Path) -> None:
        """Write the table and its metadata as safetensors; an existing file is replaced at once."""
        metadata = {
            **self.metadata,
            "fingerprint": self.fingerprint,
            "env_id": self.env_id,
            "reward_low": repr(float(self.reward_range[0])),
            "reward_high": repr(float(self.reward_range[1])),
        }
        write_table(Path(path), self.rewards, metadata)

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is not a certificate, or is damaged.
        """
        rewards, metadata = read_table(Path(path))
        try:
            bounds = (float(metadata.pop("reward_low")), float(metadata.pop("reward_high")))
            return cls(rewards, bounds, metadata.pop("fingerprint"), metadata.pop("env_id"), metadata)
        except KeyError as error:
            raise ValueError(f"{path} lacks {error} in its metadata: it is not a certificate") from error


def write_table(path: Path, rewards: NDArray[np.float32], metadata: Mapping[str, str]) -> None:
    """Write a table of rewards float32[P, K], finished or not, as safetensors; replaces a file at once."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    # one entry, sorted: safetensors writes several in random order, and equal tables should be equal files
    header = {SCHEMA: json.dumps(dict(metadata), sort_keys=True)}
    temporary.write_bytes(save({"rewards": np.ascontiguousarray(rewards)}, metadata=header))
    temporary.replace(path)


def read_table(path: Path) -> tuple[NDArray[np.float32], dict[str, str]]:
    """The rewards and the metadata of a certificate's file, or of an unfinished one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a certificate, or is damaged.
    """
    import safetensors

    if not path.is_file():
        raise FileNotFoundError(f"no certificate at {path}")
    opener: Any = safetensors.safe_open
    try:
        with opener(path, framework="numpy") as file:
            header: dict[str, str] = dict(file.metadata() or {})
            rewards: NDArray[np.float32] = file.get_tensor("rewards")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no certificate: {error}") from error
    if SCHEMA not in header:
        raise ValueError(f"{path} has no header {SCHEMA!r}: it is not a certificate")
    return rewards, json.loads(header[SCHEMA])


def check_rewards(rewards: NDArray[np.floating[Any]], reward_range: tuple[float, float]) -> None:
    """Raise ValueError unless every reward is in its range, float32 rounding apart."""
    low, high = reward_range
    slack = 1e-6 * max(abs(low), abs(high), high - low)
    smallest, largest = float(rewards.min()), float(rewards.max())
    if not (smallest >= low - slack and largest <= high + slack):  # NaN fails too
        raise ValueError(f"rewards must lie in the declared [{low}, {high}], got {smallest} to {largest}")


def mean_bounds(values: FloatArray, failure: float) -> tuple[FloatArray, FloatArray]:
    """Confidence bounds of the means of independent numbers in [0, 1].

    Args:
        values: float64[P, K] in [0, 1].
        failure: chance that one side of one of the two inequalities fails, for one row: a row's bounds
            fail with probability at most 4 failure.

    Returns:
        lower, upper: float64[P], the intersection of the empirical Bernstein and the Chernoff intervals.
    """
    count = values.shape[1]
    mean: FloatArray = np.asarray(values.mean(axis=1))
    log_term = math.log(2.0 / failure)
    half = np.sqrt(2.0 * values.var(axis=1, ddof=1) * log_term / count) + 7.0 * log_term / (3.0 * (count - 1))
    budget = math.log(1.0 / failure) / count
    lower = np.maximum(mean - half, _kl_inverse(mean, budget, upper=False))
    upper = np.minimum(mean + half, _kl_inverse(mean, budget, upper=True))
    return np.maximum(lower, 0.0), np.minimum(upper, 1.0)


def binary_kl(mean: ArrayLike, other: ArrayLike) -> FloatArray:
    """KL(Bernoulli(mean) || Bernoulli(other)), nats, elementwise; 0 log 0 = 0."""
    p, q = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(other, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, p * np.log(p / q), 0.0)
        second = np.where(p < 1, (1 - p) * (np.log1p(-p) - np.log1p(-q)), 0.0)
    return first + second


def _kl_inverse(mean: FloatArray, budget: float, *, upper: bool) -> FloatArray:
    """The farthest mu on one side of mean with KL(mean || mu) <= budget, by bisection, erring outward."""
    inside: FloatArray = mean
    outside: FloatArray = np.full_like(mean, 1.0 if upper else 0.0)
    tiny = 5e-324
    # KL(p || q) = p log p + (1 - p) log(1 - p) - p log q - (1 - p) log(1 - q): only the last two move
    room = budget - binary_kl(mean, 0.5) + math.log(2.0)
    for _ in range(200):
        middle: FloatArray = (inside + outside) / 2
        if not np.any(np.abs(outside - inside) > 1e-13 * outside):
            break
        logs = np.log(np.maximum(middle, tiny)), np.log1p(-np.minimum(middle, 1.0 - 2.0**-53))
        fits = -mean * logs[0] - (1.0 - mean) * logs[1] <= room
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    return outside


def _stderr(variances: FloatArray) -> float:
    """Standard error of the mean over prompts of independent estimates with these variances."""
    return math.sqrt(float(variances.sum())) / variances.size


def _point(kl_coef: float, tilt: Tilt) -> FrontierPoint:
    value = kl_coef * float(tilt.log_partition.mean())
    reward = float(tilt.reward.mean())
    return FrontierPoint(kl_coef, reward, max((reward - value) / kl_coef, 0.0), value)
