"""No task moves: fingerprints to the letter, optima to rounding."""

from __future__ import annotations

import json

import pytest

from klrl_envs.registry import REGISTRY, find_row
from tests.golden import tasks

RECORDED = tasks.load()


def test_every_id_is_on_record() -> None:
    assert set(RECORDED) == {row.task_id for row in REGISTRY}


@pytest.mark.parametrize("task_id", RECORDED)
def test_fingerprints_stay(task_id: str) -> None:
    for arguments, expected in RECORDED[task_id]["fingerprints"].items():
        assert tasks.fingerprints(task_id, json.loads(arguments)) == expected, arguments


@pytest.mark.slow
@pytest.mark.parametrize("task_id", RECORDED)
def test_optima_stay(task_id: str) -> None:
    row = find_row(task_id)
    assert tasks.numbers(row) == pytest.approx(RECORDED[task_id]["optimum"], rel=1e-9, abs=1e-12)
