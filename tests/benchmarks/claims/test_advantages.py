"""Advantages at every lambda, against gradients by differentiation and the estimators of the library."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from benchmarks.claims import advantages, partial_sequences
from klrl_envs.signals.batch import Batch
from klrl_envs.signals.calls import calls_of
from klrl_envs.signals.directions import objective
from klrl_envs.signals.expected import Signal, beyond_the_end
from klrl_envs.signals.policy import log_law, optimal, random_policy, standing
from klrl_envs.signals.tiny import random_task

TASK = random_task(words=2, horizon=3, seed=4)
ROWS = random_policy(TASK, seed=0)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_with_true_values_every_lambda_has_the_objectives_gradient(share: float) -> None:
    values = advantages.true_values(TASK, ROWS)
    found = advantages.moments(TASK, ROWS, advantages.advantages(TASK, ROWS, values, share))
    np.testing.assert_allclose(found.mean[:, :-1], objective(TASK, ROWS)[:, :-1], atol=1e-12)


def test_with_wrong_values_lambda_one_alone_is_unbiased() -> None:
    values = np.random.default_rng(0).normal(size=TASK.reference.shape[:2])
    known = objective(TASK, ROWS)[:, :-1]
    for share, right in ((1.0, True), (0.95, False), (0.0, False)):
        got = advantages.moments(TASK, ROWS, advantages.advantages(TASK, ROWS, values, share)).mean[:, :-1]
        assert np.allclose(got, known, atol=1e-12) == right


def to_go(batch: Batch) -> torch.Tensor:
    """REINFORCE with what is to come, no baseline, one text a call."""
    ratio = ((batch.log_probs - batch.reference_log_probs) * batch.mask).detach()
    last = batch.mask * (1 - torch.nn.functional.pad(batch.mask[:, 1:], (0, 1)))
    steps = last * batch.rewards[:, None] - batch.kl_coef * ratio
    worth = steps.flip(1).cumsum(1).flip(1)
    return -(worth * batch.log_probs * batch.mask).sum(dim=1).mean()


def test_a_learnt_critic_is_the_mean_over_all_draws_of_its_texts() -> None:
    task = random_task(words=1, horizon=3, seed=1)
    rows = random_policy(task, seed=2)
    law = np.exp(log_law(task, rows))
    returns = advantages.discounted(advantages.paid(task, rows), 1.0)
    known = np.zeros(task.reference.shape[:2])
    for prompt in range(task.prompts):
        for drawn in product(range(task.texts), repeat=2):
            seen: dict[int, list[float]] = {}
            for text in drawn:
                for time in np.flatnonzero(task.mask[text]):
                    seen.setdefault(int(task.states[text, time]), []).append(returns[prompt, text, time])
            values = np.full(len(known[prompt]), np.mean([returns[prompt, text, 0] for text in drawn]))
            for state, after in seen.items():
                values[state] = np.mean(after)
            known[prompt] += law[prompt, list(drawn)].prod() * values
    found = advantages.learnt_values(task, rows, 2)
    np.testing.assert_allclose(found[:, :-1], known[:, :-1], atol=1e-12)
    exact = advantages.true_values(task, rows)
    np.testing.assert_allclose(advantages.learnt_values(task, rows, 5_000)[:, :-1], exact[:, :-1], atol=1e-9)


def test_values_by_position_are_the_least_squares_fit() -> None:
    law = np.exp(log_law(TASK, ROWS))[:, :, None] * TASK.mask
    returns = advantages.discounted(advantages.paid(TASK, ROWS), 1.0)
    values = advantages.values_by_position(TASK, ROWS)
    left = (law * (returns - values[:, TASK.states])).sum(axis=1)
    np.testing.assert_allclose(left, 0, atol=1e-12)
    for time in range(TASK.tokens.shape[1]):
        assert np.ptp(values[:, TASK.states[TASK.mask[:, time], time]], axis=1).max() == 0


def test_no_end_of_lambda_one_is_told_to_score_more_than_one() -> None:
    paid = [1.0] * len(partial_sequences.LAMBDAS)
    ends = {name: paid for name in partial_sequences.critics(TASK, seed=0)}
    worst = {name: [*paid[:-1], 1 - 3e-4] for name in ends}
    measured = partial_sequences.Measured(
        {name: paid for name in ("pi0", "half way")}, {"pi0": 1.0, "half way": 1.0},
        {error: [1.0] * 3 for error in partial_sequences.ERRORS}, {}, ends, worst, 31, 4,
    )  # fmt: skip
    _, second, _ = partial_sequences.found(measured)
    assert "1.000 or more" not in second and "by more than 3e-04" in second


def test_the_variance_is_that_of_the_losss_gradient() -> None:
    rows = np.concatenate([ROWS[:, :-1], beyond_the_end(TASK)], axis=1)
    found = Signal(to_go, TASK, calls_of(TASK.prompts, TASK.texts, 1, 1)).gradients(rows)
    none = np.zeros(TASK.reference.shape[:2])
    own = advantages.moments(TASK, ROWS, advantages.advantages(TASK, ROWS, none, 1.0))
    np.testing.assert_allclose(own.mean[:, :-1], -found.mean[:, :-1], atol=1e-12)
    # there the prompt is drawn, too, which adds the variance between prompts
    between = (TASK.prompts - 1) * (own.mean**2).sum()
    assert own.variance + between == pytest.approx(found.deviation**2, abs=1e-12)


def test_ends_are_the_optimum_with_true_values_and_with_lambda_one() -> None:
    critics = partial_sequences.critics(TASK, seed=0)
    right = [("off by 0", 0.0), ("off by 0", 0.5), ("off by 1", 1.0), (partial_sequences.STALE, 1.0)]
    for name, share in right:
        rows = advantages.end(TASK, critics[name], share)
        assert standing(TASK, rows).score == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(np.exp(rows[:, :-1]), np.exp(optimal(TASK)[:, :-1]), atol=1e-3)
    for name in ("off by 1", partial_sequences.STALE, partial_sequences.BLIND):
        assert standing(TASK, advantages.end(TASK, critics[name], 0.0)).score < 1 - 1e-4


def test_a_text_as_one_action_has_the_objectives_gradient() -> None:
    found = advantages.moments(TASK, ROWS, partial_sequences.as_one_action(TASK, ROWS))
    np.testing.assert_allclose(found.mean[:, :-1], objective(TASK, ROWS)[:, :-1], atol=1e-12)
