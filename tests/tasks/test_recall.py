"""Recall: the last class is that of the first."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.tasks.recall import recall_task
from tests.oracles import assert_exact, letter_reference


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_recall_compares_the_last_class_with_the_first(kl_coef: float, horizon: int) -> None:
    classes = [0, 1, -1, 1, 0]
    task = recall_task(
        letter_reference("abcde", None), np.array(classes), 2, kl_coef=kl_coef, horizon=horizon
    )
    assert_exact(task, lambda text, _: float(classes[text[0]] >= 0 and classes[text[0]] == classes[text[-1]]))
