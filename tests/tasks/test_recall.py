"""Recall: the last class is that of the first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klrl_envs
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


def test_the_best_policy_of_one_class_scores_as_the_page_says() -> None:
    """Of pi* given that class, J is J* + kl_coef log of how likely pi* is to begin with it."""
    task: Any = klrl_envs.make_task("Recall-v0")
    best = klrl_envs.optimum("klrl/Recall-v0")
    origin = np.zeros(1, dtype=np.int64)
    start = np.array([task.reference.start_context])
    assert best.policy is not None and best.gap is not None
    starts = np.exp(best.policy.log_probs(start, origin, origin)[0])
    pi0 = np.exp(task.reference.rows(start)[0])
    leads_to = task.automaton.transition[0]
    shares = np.bincount(leads_to, weights=starts)
    likeliest = shares.argmax()
    assert shares[likeliest] == pytest.approx(0.42, abs=0.01) and shares[2:].astype(bool).sum() == 16
    score = 1 + task.kl_coef * np.log(shares[likeliest]) / best.gap
    assert score == pytest.approx(0.853, abs=0.001)
    # pi* / pi0 of a class is what its hits make of Z: (1 + p (exp(1 / kl_coef) - 1)) / Z
    log_z = best.value / task.kl_coef
    tilts = shares[likeliest] / pi0[leads_to == likeliest].sum()
    hit = np.expm1(np.log(tilts) + log_z) / np.expm1(1 / task.kl_coef)
    assert 1 / 25 < hit < 1 / 10
