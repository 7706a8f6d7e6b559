"""Diversity: each class counts once."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.tasks.diversity import diversity_task
from tests.oracles import assert_exact, letter_reference


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_diversity_counts_a_class_once(kl_coef: float) -> None:
    classes = [-1, 2, 0, 2, 1]
    task = diversity_task(letter_reference("$abcd", 0), np.array(classes), [2, 0], kl_coef=kl_coef, horizon=4)
    assert_exact(task, lambda text, _: len({classes[token] for token in text} & {0, 2}) / 2)
