"""Where signals end that depend on a text through its reward alone: the law of the reward, tilted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from benchmarks.studies import fixed_points
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from tests.benchmarks.studies.signals import (
    Signal,
    group_normalised,
    k3_in_the_reward,
    sequence_k3_in_the_loss,
)
from tests.benchmarks.studies.texts import Array, Texts, draw, level_of, rows_of, text_law, written_out

SEEDS = range(12)


def test_the_law_of_the_reward_is_that_of_the_texts() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        summed = np.zeros_like(law.probabilities)
        np.add.at(summed, (texts.start, level_of(law, texts)), np.exp(texts.log_reference))
        np.testing.assert_allclose(summed, law.probabilities, atol=1e-12)


def test_the_tilted_law_is_that_of_the_optimum() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        tilted = fixed_points.tilt(law, np.full(len(law.start), task.kl_coef))
        chances = text_law(law, texts, tilted)
        known = np.exp(texts.log_reference + texts.reward / task.kl_coef)
        for start in range(len(law.start)):
            mine = texts.start == start
            np.testing.assert_allclose(chances[mine], known[mine] / known[mine].sum(), atol=1e-12)
        value, reward, kl = law.optimum(task.kl_coef)
        point = fixed_points.of_law(law, tilted, task.kl_coef)
        assert (point.objective, point.expected_reward, point.kl) == pytest.approx((value, reward, kl))
        paid = float((texts.chance * chances) @ texts.reward)
        nats = float((texts.chance * chances) @ (np.log(chances) - texts.log_reference))
        assert (point.expected_reward, point.kl) == pytest.approx((paid, nats), abs=1e-12)


def test_sequence_k3_in_the_loss_ends_where_it_is_said_to() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        tilted = fixed_points.sequence_forward_kl(law, task.kl_coef)
        np.testing.assert_allclose(tilted.sum(axis=1), 1.0, atol=1e-12)
        rows = rows_of(texts, text_law(law, texts, tilted), task.tokens)
        signal = Signal(texts, rows, task)
        np.testing.assert_allclose(signal.gradient(sequence_k3_in_the_loss(signal)), 0.0, atol=1e-9)


def test_rewards_that_a_prompt_cannot_earn_do_not_matter() -> None:
    law = TerminalLaw(
        np.full(2, 0.5), np.array([0.0, 0.5, 10.0]), np.array([[0.4, 0.6, 0.0], [0.3, 0.3, 0.4]])
    )
    alone = TerminalLaw(np.ones(1), law.rewards[:2], law.probabilities[:1, :2])
    for end in (fixed_points.sequence_forward_kl, fixed_points.group_normalised):
        both = end(law, 0.2)
        np.testing.assert_allclose(both[0, :2], end(alone, 0.2)[0], atol=1e-12)
        assert both[0, 2] == 0.0


def test_a_prompt_without_stakes_stays_at_the_reference() -> None:
    law = TerminalLaw(np.full(2, 0.5), np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    np.testing.assert_allclose(fixed_points.group_normalised(law, 1.0)[0], [1.0, 0.0])


def spreads(law: TerminalLaw, start: int, coefficients: Array) -> Array:
    """sd(r) of one start's law, tilted at each of the coefficients."""
    one = TerminalLaw(np.ones(1), law.rewards, law.probabilities[[start]])
    return np.array(
        [np.sqrt(fixed_points.variance(one, fixed_points.tilt(one, np.array([c]))))[0] for c in coefficients]
    )


def flow_from_the_reference(law: TerminalLaw, kl_coef: float) -> Array:
    """The law after many natural gradient steps on rewards over their standard deviation."""
    held = law.probabilities > 0
    log_weight = np.zeros_like(law.probabilities)
    for _ in range(1_500):
        flow = law.probabilities * np.exp(log_weight)
        flow /= flow.sum(axis=1, keepdims=True)
        deviation = np.maximum(np.sqrt(fixed_points.variance(law, flow)), 1e-3)[:, None]
        log_weight += 0.02 * (law.rewards / deviation / kl_coef - log_weight)
        log_weight -= np.where(held, log_weight, -np.inf).max(axis=1, keepdims=True)
        log_weight[~held] = 0.0
    return flow


def test_group_normalised_rewards_end_where_the_flow_from_the_reference_does() -> None:
    inner = collapsed = 0
    for seed in range(16):
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        rng = np.random.default_rng(seed)
        task.kl_coef *= float(rng.uniform(0.5, 4))
        tilted = fixed_points.group_normalised(law, task.kl_coef)
        spread = np.sqrt(fixed_points.variance(law, tilted))
        at_reference = np.sqrt(fixed_points.variance(law, law.probabilities))
        within = spread > 1e-6
        for start in np.flatnonzero(~within & (at_reference > 0)):
            # no coefficient is beta times the sd that it gives: all are above it
            grid = np.geomspace(1e-3, 1e3, 400)
            assert (task.kl_coef * spreads(law, int(start), grid) < grid).all()
            collapsed += 1
        if within.any():
            law_of_texts = text_law(law, texts, np.where(within[:, None], tilted, law.probabilities))
            rows = rows_of(texts, law_of_texts, task.tokens)
            signal = Signal(texts, rows, task)
            inside = np.unique(texts.history[texts.written & within[texts.start][:, None]])
            np.testing.assert_allclose(signal.gradient(group_normalised(signal))[inside], 0.0, atol=1e-8)
            inner += int(within.sum())
        np.testing.assert_allclose(
            flow_from_the_reference(law, task.kl_coef)[within], tilted[within], atol=1e-5
        )
    assert inner >= 5 and collapsed >= 5


def test_k3_in_the_reward_descends_one_divergence_and_ascends_the_other() -> None:
    for seed in SEEDS:
        task = draw(seed)
        texts = written_out(task)
        rows = np.random.default_rng(seed).normal(size=(len(texts.times), task.tokens))
        signal = Signal(texts, rows, task)
        log_prob, ratio = signal.log_probs.sum(dim=1), signal.ratio.sum(dim=1)
        backward_kl = (torch.from_numpy(texts.chance) * log_prob.exp() * ratio).sum()
        forward_kl = -(torch.from_numpy(texts.chance * np.exp(texts.log_reference)) * ratio).sum()
        known = signal.score(signal.to_go(signal.paid)) - task.kl_coef * (backward_kl - forward_kl)
        np.testing.assert_allclose(
            signal.gradient(k3_in_the_reward(signal)), signal.gradient(known), atol=1e-9
        )


def test_a_step_with_k3_in_the_reward_is_the_natural_policy_gradient() -> None:
    """The gradient is the Fisher matrix times the step: E [grad log pi(x) d log pi(x)]."""
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        laws = fixed_points.k3_in_the_reward(law, task.kl_coef, steps=5, learning_rate=0.02)
        for before, after in itertools.pairwise(laws):
            np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-12)
            chances = text_law(law, texts, before)
            rows = rows_of(texts, chances, task.tokens)
            signal = Signal(texts, rows, task)
            step = torch.from_numpy(np.log(text_law(law, texts, after) / chances) / 0.02)
            known = signal.gradient(signal.score(step[:, None].expand_as(signal.log_probs)))
            np.testing.assert_allclose(signal.gradient(k3_in_the_reward(signal)), known, atol=1e-8)


def test_k3_in_the_reward_parts_texts_that_are_all_but_alike() -> None:
    law = TerminalLaw(np.ones(1), np.array([0.0, 1e-6, 1.0]), np.array([[0.45, 0.45, 0.1]]))
    *_, last = fixed_points.k3_in_the_reward(law, 2.0, steps=20_000, learning_rate=0.01)
    weights = last / law.probabilities
    assert weights[0, 0] == pytest.approx(0.0, abs=1e-12)  # a millionth of reward decides which is dropped
    assert weights[0, 1] > 1


def tuples(law: TerminalLaw, texts: Texts, n: int, start: int) -> Array:
    """The law of the best of n texts by writing out every n of them; one of the best is taken, all alike."""
    mine = np.flatnonzero(texts.start == start)
    chances, result = np.exp(texts.log_reference[mine]), np.zeros(len(mine))
    rewards = texts.reward[mine]
    for chosen in itertools.product(range(len(mine)), repeat=n):
        among = np.array(chosen)
        best = among[rewards[among] > rewards[among].max() - 1e-9]
        np.add.at(result, best, chances[among].prod() / len(best))
    return result


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_that_of_all_tuples(n: int) -> None:
    ties = 0
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        if len(texts.reward) > 40:
            continue
        tilted = fixed_points.best_of(law, n)
        chances = text_law(law, texts, tilted)
        nats = 0.0
        for start in range(len(law.start)):
            mine = texts.start == start
            known = tuples(law, texts, n, start)
            np.testing.assert_allclose(chances[mine], known, atol=1e-12)
            nats += law.start[start] * float(known @ (np.log(known) - texts.log_reference[mine]))
            ties += int(mine.sum() > (law.probabilities[start] > 0).sum())
        assert fixed_points.of_law(law, tilted, task.kl_coef).kl == pytest.approx(nats, abs=1e-12)
        assert nats <= math.log(n) - (n - 1) / n + 1e-12
        assert n == 1 or nats < math.log(n) - (n - 1) / n
    assert ties
