"""From the records of runs to findings: what each agent can and cannot do. What was not run has no number."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from klrl_envs.registry import sweeps
from klrl_envs.results.capabilities import CAPABILITIES
from klrl_envs.results.capability import Capability, Finding
from klrl_envs.results.points import SweepPoint, key
from klrl_envs.results.record import RunRecord


def finding_of(capability: Capability, runs: Sequence[RunRecord]) -> Finding:
    """What the runs of one agent say of a capability; those on other environments are passed over."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        if run.env_id == capability.env_id:
            groups[key(run.env_id, run.env_kwargs)].append(run)
    sweep = sweeps()[capability.env_id]
    present = [settings for settings in sweep if key(capability.env_id, settings) in groups]
    missing = tuple(settings for settings in sweep if settings not in present)
    points = tuple(
        SweepPoint(capability.env_id, settings, tuple(groups[key(capability.env_id, settings)]))
        for settings in present
    )
    if not points:
        return Finding(capability, (), missing, None, "Not run.")
    if capability.needs_comparison and not all(point.comparisons for point in points):
        return Finding(
            capability, points, missing, None, "Its results hold no comparison with pi*, which this needs."
        )
    number = math.fsum(capability.number(point) for point in points) / len(points)
    sentence = capability.sentence(capability, points)
    if missing:
        sentence += f" Not run: {capability.label(*missing)}."
    return Finding(capability, points, missing, number, sentence)


def findings_of(runs: Sequence[RunRecord]) -> dict[str, list[Finding]]:
    """The findings of every agent, by its name, in the order of ``CAPABILITIES``."""
    names = sorted({run.agent.name for run in runs})
    return {
        name: [
            finding_of(capability, [run for run in runs if run.agent.name == name])
            for capability in CAPABILITIES
        ]
        for name in names
    }
