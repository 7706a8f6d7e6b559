"""Every environment still plays its recorded episode."""

from __future__ import annotations

import json
from typing import Any

import pytest

from klrl_envs.registry import REGISTRY
from tests.golden.transcript import path_of, record


def assert_close(seen: Any, recorded: Any) -> None:
    """Equality, floats within what networks differ by from machine to machine."""
    if isinstance(recorded, dict):
        assert seen.keys() == recorded.keys()
        for key in recorded:
            assert_close(seen[key], recorded[key])
    elif isinstance(recorded, float):
        assert seen == pytest.approx(recorded, abs=2e-3, rel=2e-3)
    else:
        assert seen == recorded


@pytest.mark.parametrize("env_id", [row.gym_id for row in REGISTRY])
def test_golden_transcript(env_id: str) -> None:
    golden = json.loads(path_of(env_id).read_text())
    replayed = record(env_id, [step["action"] for step in golden["steps"]])
    assert_close(replayed["begin"], golden["begin"])
    assert len(replayed["steps"]) == len(golden["steps"])
    for seen, recorded in zip(replayed["steps"], golden["steps"], strict=True):
        assert_close(seen, recorded)
