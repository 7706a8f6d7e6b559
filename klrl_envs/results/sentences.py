"""What came out, in a sentence for each capability."""

from __future__ import annotations

import math
from collections.abc import Sequence

from klrl_envs.results.capability import Capability
from klrl_envs.results.points import SweepPoint
from klrl_envs.tasks.diagnostics.prompt_scale import SCALES

LEVEL = 0.05
"""Scores of a sweep that differ by no more than this are not said to rise or fall."""


def tell_trend(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """How the score moves along the sweep."""
    scores = [point.mean("score") for point in points]
    names = [capability.value(point.settings) for point in points]
    begin = f"{scores[0]:.2f} at {capability.axis} {names[0]}"
    end = f"{scores[-1]:.2f} at {names[-1]}"
    low, high = min(scores), max(scores)
    if len(scores) == 1:
        return f"Its score is {begin}."
    if high - low <= LEVEL:
        return (
            f"Its score keeps between {low:.2f} and {high:.2f} from {capability.axis} {names[0]} to "
            f"{names[-1]}."
        )
    if (scores[0], scores[-1]) == (high, low):
        return f"Its score falls from {begin} to {end}."
    if (scores[0], scores[-1]) == (low, high):
        return f"Its score rises from {begin} to {end}."
    best, worst = names[scores.index(high)], names[scores.index(low)]
    return f"Its score is best at {capability.axis} {best} ({high:.2f}) and worst at {worst} ({low:.2f})."


def tell_score(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """The score of a diagnostic without a sweep."""
    return f"Its score is {points[0].mean('score'):.2f}."


def tell_staying(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """How far it went for nothing."""
    kl = points[0].mean("regret") / points[0].mean("kl_coef")
    far = "under 0.001" if kl < 0.001 else f"{kl:.2g}"
    return f"With nothing to gain, it ends {far} nats from the reference; 0 is right."


def tell_start(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """Where it must begin, and where it ended."""
    begun = points[0].exactly("initial").score
    assert begun is not None
    return f"The initial policy scores {begun:.2f}; it ends at {points[0].mean('score'):.2f}."


def tell_gold(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """Gold and proxy."""
    (point,) = points
    reference = point.exactly("reference").comparison.metrics["gold"].estimate
    return (
        f"Its gold reward is {point.metric('gold'):.2f}, where the proxy's optimum has "
        f"{point.metric('gold', optimal=True):.2f} and the reference {reference:.2f}; "
        f"on the proxy it scores {point.mean('score'):.2f}."
    )


def tell_modes(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """The forward KL, and the mode that it neglects most."""
    (point,) = points
    modes = sorted({name for each in point.comparisons for name in each.metrics if name.startswith("mode_")})
    kept = {name: point.metric(name) / point.metric(name, optimal=True) for name in modes}
    least = min(kept, key=lambda name: kept[name])
    far = f"{point.forward_kl:.2g} nats, the reference's {point.exactly('optimal').kl:.2g}"
    if math.isinf(point.forward_kl):
        far = "infinite: some of what pi* writes it never does"
    return (
        f"KL(pi* || pi) is {far}; {least} has {point.metric(least):.2g} of its texts, "
        f"of the optimum's {point.metric(least, optimal=True):.2g}."
    )


def tell_stakes(capability: Capability, points: Sequence[SweepPoint]) -> str:
    """The score over unequal stakes, and the KL that they took."""
    (point,) = points
    stakes = ", ".join(f"{scale:g}" for scale in SCALES[:-1]) + f" and {SCALES[-1]:g}"
    return (
        f"It scores {point.mean('score'):.2f} over stakes of {stakes}, with {point.mean('kl'):.2f} nats "
        f"of KL; the optimum has {point.exactly('optimal').kl:.2f}."
    )
