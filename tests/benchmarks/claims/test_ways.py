"""Other ways to more reward, each against its own loss over texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.claims import tied, ways
from benchmarks.studies import laws
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.signals.policy import log_law, optimal, standing
from klrl_envs.signals.tiny import random_task

LAW = TerminalLaw(np.ones(1), np.array([0.0, 0.4, 1.0]), np.array([[0.6, 0.3, 0.1]]))


def test_supervised_fine_tuning_goes_straight_to_its_target() -> None:
    target, law = laws.highest(LAW), LAW.probabilities.copy()
    for _ in range(1000):  # the natural gradient of sum target log pi: pi (target / pi - 1)
        law = law + 1e-3 * (target - law)
    np.testing.assert_allclose(law, ways.mixtures(LAW, target, np.array([1 - 0.999**1000]))[0], atol=1e-12)
    np.testing.assert_allclose(ways.kept(LAW, 0.4), [[0, 0.75, 0.25]])


def test_ipo_tilts_by_the_rate_of_wins() -> None:
    coefficient, labels = 0.3, torch.from_numpy(ways.preferred(LAW, None))
    chances = torch.from_numpy(LAW.probabilities[0])
    (law,) = ways.identity_preferences(LAW, np.array([coefficient]))
    h = torch.from_numpy(np.log(law[0] / LAW.probabilities[0])).requires_grad_()
    gaps = h[:, None] - h[None, :]
    # E (h(y_w) - h(y_l) - 1 / (2 c))^2 over pairs of pi0, labelled
    loss = (chances[:, None] * chances[None] * labels * (gaps - 1 / (2 * coefficient)) ** 2).sum()
    (slope,) = torch.autograd.grad(loss, h)
    np.testing.assert_allclose(slope.numpy(), 0, atol=1e-12)


def test_dpo_with_labels_that_say_how_much_ends_on_the_frontier() -> None:
    *_, last = ways.preference_flow(LAW, 0.5)
    np.testing.assert_allclose(last, laws.tilt(LAW, np.full(1, 0.5)), atol=1e-8)


def test_rewards_as_weights() -> None:
    once, twice = ways.reward_weighted(LAW, np.array([1.0, 2.0]))
    np.testing.assert_allclose(once, [[0, 0.12 / 0.22, 0.1 / 0.22]])
    np.testing.assert_allclose(twice, once * LAW.rewards / (once @ LAW.rewards))


def test_towards_one_text_is_a_mixture_with_it() -> None:
    chances = np.array([0.5, 0.3, 0.2])
    law = TerminalLaw(np.ones(1), np.array([0.0, 0.4, 1.0]), chances[None])
    for share, point in zip(
        (0.0, 0.3, 1.0), ways.towards_one_text(law, np.log(0.2), 1.0, np.array([0.0, 0.3, 1.0])), strict=True
    ):
        mixed = (1 - share) * chances + share * np.array([0, 0, 1])
        kl = sum(own * np.log(own / one) for own, one in zip(mixed, chances, strict=True) if own > 0)
        assert (point.kl, point.expected_reward) == pytest.approx((kl, mixed @ law.rewards))


def test_losses_of_the_tied_class_have_pi_star_as_their_end_where_the_class_holds_it() -> None:
    task = random_task(words=2, horizon=2, seed=3)
    best = torch.from_numpy(log_law(task, optimal(task)))
    for value in (
        tied.online(task, task.kl_coef),
        tied.imitation(task, tied.tilted(task, task.kl_coef)),
        tied.preferences(task, task.kl_coef, 0.2),
    ):
        h = torch.zeros_like(best).requires_grad_()
        (slope,) = torch.autograd.grad(value((best + h).log_softmax(dim=1)), h)
        np.testing.assert_allclose(slope.numpy(), 0, atol=1e-10)


def test_online_is_best_at_its_own_price_in_the_class() -> None:
    task = random_task(words=2, horizon=3, seed=1)
    price = task.kl_coef
    objective = lambda at: at.reward - price * at.kl  # noqa: E731
    best = objective(tied.least(task, tied.online(task, price)).at)
    others = (
        tied.imitation(task, tied.tilted(task, price)),
        tied.preferences(task, price, price),
        tied.imitation(task, tied.best_of(task, 4)),
    )
    assert all(objective(tied.least(task, other).at) < best for other in others)
    assert best < standing(task, optimal(task)).reward - price * standing(task, optimal(task)).kl


def test_the_best_of_texts_is_that_of_pairs() -> None:
    task = random_task(words=1, horizon=2, seed=0)
    chances = np.exp(log_law(task, task.reference))
    known = np.zeros_like(chances)
    for prompt in range(task.prompts):
        for one in range(task.texts):
            for other in range(task.texts):
                best = max(one, other, key=lambda text: task.rewards[prompt, text])
                known[prompt, best] += chances[prompt, one] * chances[prompt, other]
    np.testing.assert_allclose(tied.best_of(task, 2), known, atol=1e-12)
