"""Rewards whose tilted means are known in closed form, as certificates."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import hyp1f1

from klrl_envs.optima.certificate import Certificate


def certificate(rewards: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0)) -> Certificate:
    return Certificate(rewards.astype(np.float32), bounds, "f" * 64, "klrl/Test-v0", {"seed": "0"})


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
