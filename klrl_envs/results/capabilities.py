"""The capabilities: for each diagnostic a number in [0, 1] and a sentence.

As bsuite's report does for its core capabilities (Osband et al. 2020, arXiv 1908.03568, section 3); here
the optimum of every diagnostic is known, so that 1 means the same for all: what pi* does.
"""

from __future__ import annotations

import math
import re

from klrl_envs.registry import REGISTRY, Row
from klrl_envs.results.capability import Capability
from klrl_envs.results.points import SweepPoint
from klrl_envs.results.sentences import (
    tell_gold,
    tell_modes,
    tell_score,
    tell_stakes,
    tell_start,
    tell_staying,
    tell_trend,
)


def clip(value: float) -> float:
    """The nearest number in [0, 1]."""
    return min(max(value, 0.0), 1.0)


def clipped_score(point: SweepPoint) -> float:
    """The mean score, 0 the reference and 1 the optimum."""
    return clip(point.mean("score"))


def staying(point: SweepPoint) -> float:
    """exp(-KL(pi || pi0)), from regret = kl_coef KL where there is no reward."""
    return clip(math.exp(-point.mean("regret") / point.mean("kl_coef")))


def gold_share(point: SweepPoint) -> float:
    """The gold reward over that of pi*, at most 1."""
    return clip(point.metric("gold") / point.metric("gold", optimal=True))


def forward_score(point: SweepPoint) -> float:
    """1 - KL(pi* || pi) / KL(pi* || pi0): 0 is the reference, 1 the optimum."""
    return clip(1.0 - point.forward_kl / point.exactly("optimal").kl)


SCORE = "the mean score of the seeds, clipped to [0, 1]"

SPOKEN_FOR = (
    Capability(
        "Stays put",
        "klrl/DiagnosticZeroReward-v0",
        "Without any reward, does it stay at the reference?",
        "exp(-KL(pi || pi0)): the geometric mean of the reference's probability over its own, in its texts",
        staying,
        tell_staying,
    ),
    Capability(
        "Starts elsewhere",
        "klrl/DiagnosticReference-v0",
        "Begun away from the reference, does it still find the optimum?",
        SCORE,
        clipped_score,
        tell_start,
    ),
    Capability(
        "Price of KL",
        "klrl/DiagnosticCoefficient-v0",
        "Is it good at every price of KL?",
        SCORE,
        clipped_score,
        tell_trend,
        "kl_coef",
    ),
    Capability(
        "Long texts",
        "klrl/DiagnosticLength-v0",
        "The first token decides: does it matter how many follow?",
        SCORE,
        clipped_score,
        tell_trend,
        "horizon",
    ),
    Capability(
        "Large vocabularies",
        "klrl/DiagnosticVocabulary-v0",
        "Does it matter how many words mean the same?",
        SCORE,
        clipped_score,
        tell_trend,
        "clones",
    ),
    Capability(
        "Rare rewards",
        "klrl/DiagnosticSparsity-v0",
        "How rare may the reward be for it to be found?",
        SCORE,
        clipped_score,
        tell_trend,
        "probability",
    ),
    Capability(
        "Delayed rewards",
        "klrl/DiagnosticDelay-v0",
        "Does it matter how long after its cause a reward is paid?",
        SCORE,
        clipped_score,
        tell_trend,
        "delay",
    ),
    Capability(
        "Noisy rewards",
        "klrl/DiagnosticNoise-v0",
        "Does it average luck out?",
        SCORE,
        clipped_score,
        tell_trend,
        "sigma",
    ),
    Capability(
        "Unequal stakes",
        "klrl/DiagnosticPromptScale-v0",
        "Does it spend KL where much is at stake?",
        SCORE,
        clipped_score,
        tell_stakes,
    ),
    Capability(
        "Several modes",
        "klrl/DiagnosticModes-v0",
        "Does it keep every way to succeed?",
        "1 - KL(pi* || pi) / KL(pi* || pi0), at least 0: the score with both KLs turned round, as "
        "score = 1 - KL(pi || pi*) / KL(pi0 || pi*)",
        forward_score,
        tell_modes,
        needs_comparison=True,
    ),
    Capability(
        "No over-optimisation",
        "klrl/DiagnosticGold-v0",
        "Paid by a proxy, does it keep as much of what was meant as the proxy's optimum does?",
        "its gold reward over that of pi*, at most 1; who never leaves the reference loses none either, so "
        "that the score on the proxy belongs beside it",
        gold_share,
        tell_gold,
        needs_comparison=True,
    ),
)


def of_diagnostic(row: Row) -> Capability:
    """The capability of a diagnostic that nothing more is said of: its score, along its sweep."""
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", row.id.removeprefix("Diagnostic").rsplit("-", 1)[0])
    moved = [name for name in row.sweep[0] if len({str(settings[name]) for settings in row.sweep}) > 1]
    axis = moved[0] if moved else None
    tell = tell_score if axis is None else tell_trend
    asks = f"{row.summary[:1].upper()}{row.summary[1:]}."
    return Capability(title.capitalize(), row.gym_id, asks, SCORE, clipped_score, tell, axis)


CAPABILITIES = (
    *SPOKEN_FOR,
    *(
        of_diagnostic(row)
        for row in REGISTRY
        if row.sweep and row.gym_id not in {capability.env_id for capability in SPOKEN_FOR}
    ),
)
