"""DiagnosticLength: its closed form."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.optima.optimum import optimum_of
from tests.oracles import evaluation_task


def test_length_in_closed_form() -> None:
    task = evaluation_task("DiagnosticLength-v0")
    words = task.vocabulary.words
    chance = np.exp(
        task.reference.table[-1, [words.index(w) for w in ("great", "good", "best", "funny", "well")]]
    )
    expected = task.kl_coef * math.log1p(chance.sum() * math.expm1(1 / task.kl_coef))
    assert optimum_of(task).value == pytest.approx(expected, abs=1e-10)
