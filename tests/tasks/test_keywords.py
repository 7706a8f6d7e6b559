"""Keywords beside another reference."""

from __future__ import annotations

from typing import Any

import pytest

import klrl_envs


def test_keywords_beside_a_trigram() -> None:
    arguments: dict[str, Any] = {"keywords": ["film", "great"], "horizon": 8}
    best = klrl_envs.optimum("klrl/Keywords-v0", reference="words-trigram", **arguments)
    beside = klrl_envs.optimum("klrl/Keywords-v0", **arguments)
    assert best.exact and best.reference_value < best.value < 1
    assert best.value != pytest.approx(beside.value, abs=1e-4)
    seen = klrl_envs.evaluate(
        "optimal", "klrl/Keywords-v0", episodes=64, reference="words-trigram", **arguments
    )
    assert seen.objective.estimate == pytest.approx(best.value, abs=1e-9)
