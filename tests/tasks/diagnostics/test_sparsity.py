"""DiagnosticSparsity: its closed forms."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.reference.catalogue import load


@pytest.mark.parametrize("probability", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("more", [{}, {"horizon": 3}, {"horizon": 20}, {"kl_coef": 0.05}, {"kl_coef": 1.0}])
def test_sparsity_in_closed_form(probability: float, more: dict[str, Any]) -> None:
    best = klrl_envs.optimum("DiagnosticSparsity-v0", probability=probability, **more)
    expected = best.kl_coef * math.log1p(probability * math.expm1(1 / best.kl_coef))
    assert best.value == pytest.approx(expected, abs=1e-9)
    assert best.reference_value == pytest.approx(probability, rel=1e-9)


def test_sparsity_at_equal_stakes() -> None:
    for probability in (1e-1, 1e-6):
        best = klrl_envs.optimum(
            "DiagnosticSparsity-v0", probability=probability, kl_coef=1 / math.log(2 / probability)
        )
        assert best.expected_reward == pytest.approx(2 / 3, abs=0.03)


def test_scale_is_the_lock_that_it_is_said_to_be() -> None:
    model = load("scale", probability=1e-4, horizon=11).markov
    keys = [place % 8 for place in range(11)]
    contexts = [model.start_context, *keys[:-1]]
    assert model.log_prob(np.array(contexts), np.array(keys)).sum() == pytest.approx(math.log(1e-4))
