"""A capability that one diagnostic tells, and what an agent's runs say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from klrl_envs.registry import sweeps
from klrl_envs.results.points import SweepPoint
from klrl_envs.tasks.row import Settings


@dataclass(frozen=True)
class Capability:
    """What one diagnostic tells.

    Attributes:
        title: a few words.
        env_id: the diagnostic.
        asks: what is asked, a sentence.
        formula: how a setting becomes a number; the capability's is the mean over the settings.
        number: the same as a function.
        sentence: what came out, from the settings that were run.
        axis: the argument that the sweep moves, or None.
        needs_comparison: whether it reads a record's comparison with pi*.
    """

    title: str
    env_id: str
    asks: str
    formula: str
    number: Callable[[SweepPoint], float]
    sentence: Callable[[Capability, Sequence[SweepPoint]], str]
    axis: str | None = None
    needs_comparison: bool = False

    def label(self, *settings: Mapping[str, Any]) -> str:
        """Settings in words: "horizon 16, 64"; "" for a diagnostic without a sweep."""
        return "" if self.axis is None else f"{self.axis} {', '.join(map(self.value, settings))}"

    def value(self, settings: Mapping[str, Any]) -> str:
        """The argument that the sweep moves, in a setting: "64"."""
        return f"{settings[self.axis]:g}" if self.axis is not None else ""

    @property
    def span(self) -> str:
        """The sweep in words."""
        sweep = sweeps()[self.env_id]
        return "" if self.axis is None else f"{self.label(sweep[0])} … {self.value(sweep[-1])}"


@dataclass(frozen=True)
class Finding:
    """What the runs of an agent say of a capability.

    Attributes:
        capability: what was asked.
        points: the settings that were run, in the sweep's order.
        missing: those that were not.
        number: in [0, 1], over the points; None where there is nothing to say.
        sentence: in words.
    """

    capability: Capability
    points: tuple[SweepPoint, ...]
    missing: tuple[Settings, ...]
    number: float | None
    sentence: str


Findings = Mapping[str, Sequence[Finding]]
"""The findings of every agent, by its name, one for each capability."""

MANY = 8
"""More agents than so many have no room side by side."""


def by_rank(findings: Findings) -> list[str]:
    """The agents' names: those with the most numbers first, and of as many by their mean."""

    def place(name: str) -> tuple[int, float]:
        known = [each.number for each in findings[name] if each.number is not None]
        return -len(known), -math.fsum(known) / max(len(known), 1)

    return sorted(findings, key=place)
