"""Kullback-Leibler divergence between a policy and its reference: pure functions, in nats.

Notation of the estimators: a sample x ~ pi, log_ratio = log pi(x) - log pi0(x), rho = exp(-log_ratio) =
pi0(x)/pi(x). The names k1, k2, k3 are those of Schulman, "Approximating KL divergence" (2020). What an
estimator measures and what its use as a training signal descends are two questions; each docstring
answers both. "In the reward" means detached, subtracted from the return; "in the loss" means
differentiated through log pi at the sampled tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_kl_coef(kl_coef: object) -> float:
    """Return kl_coef as a float where it is one that an optimum exists for.

    Raises:
        ValueError: kl_coef is not a finite number above 0.
    """
    if isinstance(kl_coef, Real):
        value = float(kl_coef)
        if math.isfinite(value) and value > 0:
            return value
    raise ValueError(f"kl_coef must be a finite number above 0, got {kl_coef!r}")


def kl_divergence(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> NDArray[np.float64]:
    """Exact KL(pi || pi0) of rows of log-probabilities.

    Args:
        log_probs: float[..., V], log pi, normalised; -inf where pi gives no probability.
        reference_log_probs: float[..., V], log pi0, normalised.

    Returns:
        float64[...], nats; +inf where pi puts probability on what pi0 excludes. Computed in float64
        whatever comes in: bfloat16 would move log-probs by about .02.

    Raises:
        ValueError: the last axes differ or are empty.
    """
    log_pi = np.asarray(log_probs, dtype=np.float64)
    log_pi0 = np.asarray(reference_log_probs, dtype=np.float64)
    if log_pi.ndim == 0 or log_pi0.ndim == 0 or log_pi.shape[-1] != log_pi0.shape[-1]:
        raise ValueError(
            f"log_probs and reference_log_probs must agree in their last axis, "
            f"got shapes {log_pi.shape} and {log_pi0.shape}"
        )
    if log_pi.shape[-1] == 0:
        raise ValueError("log_probs has an empty last axis; at least one token is needed")
    held = np.isneginf(log_pi)
    difference = np.where(held, 0.0, log_pi) - np.where(held, 0.0, log_pi0)
    excluded = np.isposinf(difference)  # by pi0: however little pi puts there, also what underflows
    terms = np.exp(log_pi) * np.where(excluded, 0.0, difference)
    return np.sum(np.where(excluded, np.inf, terms), axis=-1)


def k1(log_ratio: ArrayLike) -> NDArray[np.float64]:
    """The estimator log pi(x) - log pi0(x) of KL(pi || pi0).

    Unbiased; may be negative on a sample. In the reward, detached: the right signal, and of the three
    the only right one. In the loss: its gradient has mean zero (the score function), so it does nothing.

    Args:
        log_ratio: float[...], log pi - log pi0 of what pi sampled: of a token given its state, or
            summed over an episode.

    Returns:
        float64[...], nats.
    """
    return np.asarray(log_ratio, dtype=np.float64)


def k2(log_ratio: ArrayLike) -> NDArray[np.float64]:
    """The estimator (log pi(x) - log pi0(x))^2 / 2 of KL(pi || pi0).

    Biased, never negative, right to second order near pi0. In the reward: wrong. In the loss: with the
    whole sequence's log-ratio its gradient is that of KL(pi || pi0); token by token only a part of it, as
    the effect of a token on the KL of later states is lost.

    Args:
        log_ratio: float[...], as for `k1`.

    Returns:
        float64[...], nats.
    """
    value = np.asarray(log_ratio, dtype=np.float64)
    return 0.5 * value * value


def k3(log_ratio: ArrayLike) -> NDArray[np.float64]:
    """The estimator rho - 1 - log rho of KL(pi || pi0), rho = pi0(x)/pi(x).

    Unbiased, never negative; its variance can explode where pi0 is far above pi. In the reward: wrong,
    the update descends KL(pi || pi0) - KL(pi0 || pi). In the loss: of a whole sequence it descends the
    forward KL(pi0 || pi); token by token (as published with GRPO, arXiv 2402.03300, equation 4) the
    forward KL state by state on the states that pi visits.

    Args:
        log_ratio: float[...], as for `k1`.

    Returns:
        float64[...], nats; inf where exp(-log_ratio) overflows.
    """
    value = np.asarray(log_ratio, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.expm1(-value) + value


@dataclass
class AdaptiveCoefficient:
    """A KL coefficient that steers the measured KL to a target (Ziegler et al. 2019, arXiv 1909.08593, 2.2).

        error = clip(KL / target - 1, -clip, clip);  coefficient *= 1 + error * episodes / horizon

    It moves the optimum along the frontier; an agent is always scored at its environment's own kl_coef.

    Attributes:
        coefficient: the present coefficient, above 0.
        target: KL(pi || pi0) of an episode to steer to, nats, above 0.
        horizon: episodes over which a saturated error multiplies the coefficient by about exp(clip).
        clip: largest relative error that counts.

    Raises:
        ValueError: an attribute is not a finite number above 0.
    """

    coefficient: float
    target: float
    horizon: float = 10_000.0
    clip: float = 0.2

    def __post_init__(self) -> None:
        for name in ("coefficient", "target", "horizon", "clip"):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number above 0, got {value!r}")

    def update(self, kl: float, episodes: int) -> float:
        """Take in the mean KL of a batch and return the new coefficient.

        Args:
            kl: mean KL of the batch's episodes, nats, a whole episode each (an estimate may be negative).
            episodes: number of episodes in the batch; fewer than horizon / clip, or the coefficient
                could reach zero.

        Raises:
            ValueError: kl is not finite, or episodes is out of range.
        """
        if not math.isfinite(kl):
            raise ValueError(f"kl must be finite, got {kl!r}")
        if not 0 <= episodes < self.horizon / self.clip:
            raise ValueError(
                f"episodes must be at least 0 and below horizon / clip = {self.horizon / self.clip:g}, "
                f"got {episodes!r}"
            )
        error = min(max(kl / self.target - 1.0, -self.clip), self.clip)
        self.coefficient *= 1.0 + error * episodes / self.horizon
        return self.coefficient
