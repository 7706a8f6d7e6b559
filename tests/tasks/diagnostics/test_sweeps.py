"""What must not move along a diagnostic's sweep."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import pytest

import klrl_envs

SWEEPS: list[tuple[str, str, list[Any]]] = [
    ("DiagnosticLength-v0", "horizon", [4, 16, 64, 256]),
    ("DiagnosticVocabulary-v0", "clones", [1, 4, 16, 64]),
    ("DiagnosticDelay-v0", "delay", [0, 1, 2, 4, 8, 12]),
    ("DiagnosticNoise-v0", "sigma", [0.0, 0.3, 1.0, 3.0]),
    ("DiagnosticReference-v0", "temperature", [0.25, 0.5, 1.0, 2.0]),
    ("DiagnosticZeroReward-v0", "horizon", [1, 12, 64]),
    ("DiagnosticZeroReward-v0", "kl_coef", [0.02, 0.1, 2.0]),
]


@pytest.mark.parametrize(("task_id", "argument", "values"), SWEEPS)
def test_optimum_does_not_move_along_the_sweep(task_id: str, argument: str, values: list[Any]) -> None:
    first = klrl_envs.optimum(task_id, **{argument: values[0]})
    for value in values[1:]:
        other = klrl_envs.optimum(task_id, **{argument: value})
        for number in ("value", "reference_value", "expected_reward", "kl"):
            assert getattr(other, number) == pytest.approx(getattr(first, number), abs=1e-9)
