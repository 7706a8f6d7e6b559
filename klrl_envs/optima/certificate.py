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
bounds (`optima/bounds.py`) take its place. Those hold at any sample size for any law of r, as they rest on
the declared b and never on a sample maximum; split over prompts they are several times wider.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.bounds import mean_bounds
from klrl_envs.optima.result import CONFIDENCE, NORMAL, FrontierPoint, Optimum
from klrl_envs.optima.reward_table import check_rewards, read_table, write_table
from klrl_envs.reference.arrays import FloatArray

TRUSTED_SAMPLES = 100.0
"""Harmonic mean of the prompts' effective sample sizes from which the delta method is believed: in simulation
95 % intervals cover from there on; with 20 to 60 those of J* cover at .91 to .94, of KL* at .77 to .91."""


@dataclass(frozen=True)
class Tilt:
    """The samples reweighted to pi* at one kl_coef; arrays are float64[P], one entry per prompt.

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

    @property
    def effective(self) -> float:
        """The harmonic mean of the prompts' effective samples: what an interval of their mean rests on."""
        return 1.0 / float((1.0 / self.effective_samples).mean())


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
        ValueError: rewards of another shape, fewer than two per prompt, or out of their range.
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

    @property
    def highest(self) -> FloatArray:
        """The highest reward of each prompt's samples, float64[P]."""
        return self._values.max(axis=1)

    @cached_property
    def reference_value(self) -> float:
        """J(pi0), the mean reward."""
        return float(self._values.mean())

    @cached_property
    def reference_value_stderr(self) -> float:
        """Standard error of `reference_value` over fixed prompts."""
        return mean_stderr(self._values.var(axis=1, ddof=1) / self.samples)

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

    def value_stderr(self, kl_coef: float) -> float:
        """The delta method's standard error of J* at kl_coef."""
        return kl_coef * mean_stderr(self.tilt(kl_coef).log_partition_variance)

    def trusted(self, kl_coef: float) -> bool:
        """Whether the samples are enough for the delta method at kl_coef."""
        return self.tilt(kl_coef).effective >= TRUSTED_SAMPLES

    def optimum(self, kl_coef: float) -> Optimum:
        """J* at kl_coef with its 95 % interval, rigorous bounds beside it, E*[r] and KL*.

        Raises:
            ValueError: kl_coef is not a finite number above 0.
        """
        kl_coef = check_kl_coef(kl_coef)
        tilt = self.tilt(kl_coef)
        point = frontier_point(kl_coef, tilt)
        rigorous = self.bounds(kl_coef, CONFIDENCE)
        stderr = kl_coef * mean_stderr(tilt.log_partition_variance)
        reward_stderr, kl_stderr = mean_stderr(tilt.reward_variance), mean_stderr(tilt.kl_variance)
        lower, upper = point.value - NORMAL * stderr, point.value + NORMAL * stderr
        reward = around(point.expected_reward, reward_stderr)
        kl = around(point.kl, kl_stderr)
        kind = "delta-method interval"
        if tilt.effective < TRUSTED_SAMPLES:
            lower, upper = min(rigorous[0], point.value), max(rigorous[1], point.value)
            reward = spanned(self.reward_bounds(kl_coef, CONFIDENCE), point.expected_reward)
            half = (1.0 + CONFIDENCE) / 2  # KL* = (E*[r] - J*) / beta: either may fail
            value, top = self.bounds(kl_coef, half), self.reward_bounds(kl_coef, half)
            kl = max((top[0] - value[1]) / kl_coef, 0.0), (top[1] - value[0]) / kl_coef
            kl = spanned(kl, point.kl)
            stderr, reward_stderr, kl_stderr = (
                (high - low) / (2 * NORMAL) for low, high in ((lower, upper), reward, kl)
            )
            kind = (
                f"rigorous bounds, as {tilt.effective:.3g} effective samples are too few for the delta method"
            )
        return Optimum(
            env_id=self.env_id,
            kl_coef=kl_coef,
            value=point.value,
            value_stderr=stderr,
            lower=lower,
            upper=upper,
            exact=False,
            reference_value=self.reference_value,
            reference_value_stderr=self.reference_value_stderr,
            expected_reward=point.expected_reward,
            expected_reward_stderr=reward_stderr,
            expected_reward_interval=reward,
            kl=point.kl,
            kl_stderr=kl_stderr,
            kl_interval=kl,
            rigorous_lower=rigorous[0],
            rigorous_upper=rigorous[1],
            effective_samples=tilt.effective,
            method=f"{self.samples:,} reference samples for each of {self.prompts} prompts, {kind}",
            certificate=self,
        )

    def frontier(self, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
        """What pi* reaches at each of kl_coefs, all from the same samples.

        The sampled frontier has a precedent: Ziegler et al. 2019, arXiv 1909.08593, figure 3.

        Raises:
            ValueError: a kl_coef that is not a finite number above 0.
        """
        return [frontier_point(check_kl_coef(kl_coef), self.tilt(kl_coef)) for kl_coef in kl_coefs]

    def reward_bounds(self, kl_coef: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Bounds of E*[r] that hold with probability `confidence` at any sample size and any law of r.

        With w = exp((r - b)/beta), E*[r] = a + E_0[w (r - a)]/E_0[w] = b - E_0[w (b - r)]/E_0[w]: either
        numerator from above and the denominator from below, prompt by prompt.
        """
        low, high = self.reward_range
        failure = (1.0 - confidence) / (6 * self.prompts)  # two inequalities each for three one-sided bounds
        weights = np.exp((self._values - high) / check_kl_coef(kl_coef))
        share = (self._values - low) / (high - low)
        least = np.maximum(mean_bounds(weights, failure)[0], np.finfo(float).tiny)
        above = np.minimum(mean_bounds(weights * share, failure)[1] / least, 1.0)
        below = np.minimum(mean_bounds(weights * (1.0 - share), failure)[1] / least, 1.0)
        width = high - low
        return high - width * float(below.mean()), low + width * float(above.mean())

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


def around(value: float, stderr: float) -> tuple[float, float]:
    """The normal law's 95 % interval."""
    return value - NORMAL * stderr, value + NORMAL * stderr


def spanned(bounds: tuple[float, float], value: float) -> tuple[float, float]:
    """Bounds that hold an estimate, too."""
    return min(bounds[0], value), max(bounds[1], value)


def mean_stderr(variances: FloatArray) -> float:
    """Standard error of the mean over prompts of independent estimates with these variances."""
    return math.sqrt(float(variances.sum())) / variances.size


def frontier_point(kl_coef: float, tilt: Tilt) -> FrontierPoint:
    """What the reweighted samples say that pi* reaches: the mean over prompts."""
    value = kl_coef * float(tilt.log_partition.mean())
    reward = float(tilt.reward.mean())
    kl = max((reward - value) / kl_coef, 0.0)
    return FrontierPoint(kl_coef, reward, kl, value, tilt.effective)
