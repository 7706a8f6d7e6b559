"""The sweeps as data: the arguments over which each diagnostic is run, in the order shown."""

from __future__ import annotations

import math
from typing import Any

Settings = dict[str, Any]


def lock(probability: float) -> Settings:
    """A lock with the kl_coef at which the optimum opens it with probability two thirds, to four digits."""
    return {"probability": probability, "kl_coef": float(f"{1 / math.log(2 / probability):.4g}")}


SWEEPS: dict[str, tuple[Settings, ...]] = {
    "klrl/DiagnosticZeroReward-v0": ({},),
    "klrl/DiagnosticLength-v0": tuple({"horizon": tokens} for tokens in (4, 16, 64, 256)),
    "klrl/DiagnosticVocabulary-v0": tuple({"clones": number} for number in (1, 4, 16, 64)),
    "klrl/DiagnosticSparsity-v0": tuple(lock(10.0**-digits) for digits in range(1, 7)),
    "klrl/DiagnosticDelay-v0": tuple({"delay": tokens} for tokens in (0, 4, 12)),
    "klrl/DiagnosticNoise-v0": tuple({"sigma": sigma} for sigma in (0.0, 1.0, 3.0)),
    "klrl/DiagnosticCoefficient-v0": tuple({"kl_coef": price} for price in (0.02, 0.1, 0.5, 2.0)),
    "klrl/DiagnosticReference-v0": ({},),
    "klrl/DiagnosticGold-v0": ({},),
    "klrl/DiagnosticModes-v0": ({},),
    "klrl/DiagnosticPromptScale-v0": ({},),
}
"""Id -> the arguments of its runs; what a run does not name is the environment's default."""
