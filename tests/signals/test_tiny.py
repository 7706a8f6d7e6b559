"""Tiny tasks: what is changed on them leaves the optimum where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from klrl_envs.signals import TinyTask, random_task
from klrl_envs.signals.policy import log_law, of_law, optimal, random_policy, standing, visits

CHANGES: dict[str, Callable[[TinyTask], TinyTask]] = {
    "shifted": lambda task: task.shifted(3.0),
    "scaled": lambda task: task.scaled(10.0),
    "cloned": lambda task: task.cloned(1),
    "cloned twice": lambda task: task.cloned(1, (0.5, 0.3, 0.2)),
    "spelled longer": lambda task: task.spelled_longer(1),
    "spelled longer, the other word": lambda task: task.spelled_longer(2, length=2),
    "padded": lambda task: task.padded(2),
}


def folded(task: TinyTask, law: np.ndarray) -> np.ndarray:
    """The law of the texts that a task was made of."""
    out = np.zeros((task.prompts, int(task.origin.max()) + 1))
    for prompt in range(task.prompts):
        np.add.at(out[prompt], task.origin, law[prompt])
    return out


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [({}, 7), ({"words": 1, "horizon": 3}, 4), ({"horizon": 3, "end": False}, 8), ({"horizon": 3}, 15)],
)
def test_all_texts_are_there_and_their_laws_sum_to_one(arguments: dict[str, Any], texts: int) -> None:
    task = random_task(**arguments)
    assert task.texts == texts == len(set(task.sequences()))
    for rows in (task.reference, optimal(task), random_policy(task, 1)):
        np.testing.assert_allclose(np.exp(log_law(task, rows)).sum(axis=1), 1.0, atol=1e-12)
        np.testing.assert_allclose(np.exp(rows).sum(axis=2), 1.0, atol=1e-12)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_keeps_the_reference_and_the_optimum(change: str) -> None:
    task = random_task(seed=3)
    other = CHANGES[change](task)
    for policy in (lambda one: one.reference, optimal):
        np.testing.assert_allclose(
            folded(other, np.exp(log_law(other, policy(other)))),
            np.exp(log_law(task, policy(task))),
            atol=1e-12,
        )
    assert standing(other, optimal(other)).score == pytest.approx(1.0, abs=1e-12)
    assert standing(other, optimal(other)).kl == pytest.approx(standing(task, optimal(task)).kl, abs=1e-12)


def test_the_optimum_is_the_tilted_reference() -> None:
    task = random_task(seed=5)
    before = log_law(task, task.reference)
    tilted = before + task.rewards / task.kl_coef
    expected = tilted - logsumexp(tilted, axis=1, keepdims=True)
    np.testing.assert_allclose(log_law(task, optimal(task)), expected, atol=1e-12)
    best = standing(task, optimal(task))
    value = best.reward - task.kl_coef * best.kl
    assert value == pytest.approx(float((task.kl_coef * logsumexp(tilted, axis=1)).mean()), abs=1e-12)
    assert standing(task, task.reference).score == 0.0


def test_a_law_and_its_table_are_one_and_visits_count_its_prefixes() -> None:
    task = random_task(seed=1)
    law = np.random.default_rng(0).dirichlet(np.ones(task.texts), size=task.prompts)
    rows = of_law(task, law)
    np.testing.assert_allclose(np.exp(log_law(task, rows)), law, atol=1e-12)
    reached = visits(task, law)
    assert reached[:, -1].tolist() == [0.0, 0.0]  # nobody is asked beyond the end
    np.testing.assert_allclose(reached.sum(axis=1), law @ task.mask.sum(axis=1), atol=1e-12)


def test_twins_are_told_from_the_word_and_turned_into_it() -> None:
    task = random_task().cloned(1)
    sequences = list(task.sequences())
    assert sequences[1:3] == [(1, 0), (3, 0)]
    assert [sequences[text] for text in task.canonical[1:3]] == [(1, 0), (1, 0)]
    assert len(set(task.rewards[:, 1])) == 2 and (task.rewards[:, 1] == task.rewards[:, 2]).all()


def test_a_word_that_is_spelled_longer_is_certain_after_its_first_token() -> None:
    task = random_task().spelled_longer(1)
    sequences = list(task.sequences())
    assert (1, 3, 3, 0) in sequences and (1, 3, 3, 2) in sequences and (2, 1, 3, 3) in sequences
    assert task.row_after(0, (1,))[3] == 0.0 and task.row_after(0, (1, 3))[3] == 0.0
    assert task.row_after(0, (1, 3, 3))[3] < -1e3
    with pytest.raises(ValueError, match="no text begins with"):
        task.row_after(0, (2, 2))
