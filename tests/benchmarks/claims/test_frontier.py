"""Shares of the frontier, and best-of-n between whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import frontier
from benchmarks.studies import laws
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from tests.benchmarks.studies.texts import draw

SEEDS = range(8)


def test_the_most_reward_at_a_kl_is_the_optimums() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law = terminal_law(task.problem)
        if law.rewards.size < 2:
            continue
        for kl_coef in (task.kl_coef / 2, task.kl_coef, 3 * task.kl_coef):
            _, reward, kl = law.optimum(kl_coef)
            assert frontier.reward_at(law, kl, task.kl_coef) == pytest.approx(reward, abs=1e-6)
        share = frontier.Share(laws.OperatingPoint(1.0, 0.5, 0.0), 3.0, 0.0)
        assert (share.gap, share.share) == (2.0, pytest.approx(1 / 3))


def test_the_best_n_is_that_of_all_n() -> None:
    counts = set()
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, kl_coef = terminal_law(task.problem), task.kl_coef / 4
        point = frontier.best_of_law(law, kl_coef)
        found, known = frontier.best_count(point), laws.best_count(law, kl_coef)
        assert point(found).objective == pytest.approx(point(known).objective, abs=1e-6)
        counts.add(found)
    assert len(counts) > 2


def test_the_n_of_a_kl_has_that_kl() -> None:
    law = TerminalLaw(np.ones(1), np.array([0.0, 0.5, 1.0]), np.array([[0.9, 0.09, 0.01]]))
    point = frontier.best_of_law(law, 0.1)
    for n in (2, 7, 40):
        assert frontier.count_at(point, point(n).kl) == pytest.approx(n, rel=1e-5)
    assert frontier.count_at(point, 100.0) is None


def test_best_of_samples_is_that_of_their_law() -> None:
    rewards = np.random.default_rng(0).integers(4, size=(3, 50)) / 3
    point = frontier.best_of_samples(rewards, 0.1)
    law = TerminalLaw(
        np.full(3, 1 / 3),
        np.arange(4) / 3,
        np.stack([(rewards == level / 3).mean(axis=1) for level in range(4)], 1),
    )
    known = laws.of_law(law, laws.best_of(law, 5), 0.1)
    assert (point(5).expected_reward, point(5).kl) == pytest.approx((known.expected_reward, known.kl))


def test_no_n_has_more_reward_than_the_frontier() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law = terminal_law(task.problem)
        point = frontier.best_of_law(law, task.kl_coef)
        for n in (1.5, 4, 60):
            at_most = frontier.reward_at(law, point(n).kl, task.kl_coef)
            assert point(n).expected_reward <= at_most + 1e-7


def test_the_gain_of_the_optimum_is_a_jeffreys_divergence() -> None:
    """E*[r] - E_0[r] = kl_coef (KL(pi* || pi0) + KL(pi0 || pi*)), as the page has it."""
    task = draw(1, terminal=True)
    law = terminal_law(task.problem)
    best = laws.tilt(law, np.full(len(law.start), task.kl_coef))
    held = law.probabilities > 0
    ratio = np.log(np.where(held, best / np.where(held, law.probabilities, 1), 1))
    both = float(law.start @ ((best - law.probabilities) * ratio).sum(axis=1))
    gain = laws.of_law(law, best, 1.0).expected_reward - law.reference_value
    assert gain == pytest.approx(task.kl_coef * both, abs=1e-12)
