"""Where signals end that depend on a text through its reward alone: the law of the reward, tilted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from benchmarks.studies import laws
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from tests.benchmarks.studies.signals import (
    Signal,
    group_normalised,
    k1_in_the_reward,
    regressed_on_a_value,
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
        tilted = laws.tilt(law, np.full(len(law.start), task.kl_coef))
        chances = text_law(law, texts, tilted)
        known = np.exp(texts.log_reference + texts.reward / task.kl_coef)
        for start in range(len(law.start)):
            mine = texts.start == start
            np.testing.assert_allclose(chances[mine], known[mine] / known[mine].sum(), atol=1e-12)
        value, reward, kl = law.optimum(task.kl_coef)
        point = laws.of_law(law, tilted, task.kl_coef)
        assert (point.objective, point.expected_reward, point.kl) == pytest.approx((value, reward, kl))
        paid = float((texts.chance * chances) @ texts.reward)
        nats = float((texts.chance * chances) @ (np.log(chances) - texts.log_reference))
        assert (point.expected_reward, point.kl) == pytest.approx((paid, nats), abs=1e-12)


def test_sequence_k3_in_the_loss_ends_where_it_is_said_to() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        tilted = laws.sequence_forward_kl(law, task.kl_coef)
        np.testing.assert_allclose(tilted.sum(axis=1), 1.0, atol=1e-12)
        rows = rows_of(texts, text_law(law, texts, tilted), task.tokens)
        signal = Signal(texts, rows, task)
        np.testing.assert_allclose(signal.gradient(sequence_k3_in_the_loss(signal)), 0.0, atol=1e-9)


def test_rewards_that_a_prompt_cannot_earn_do_not_matter() -> None:
    law = TerminalLaw(
        np.full(2, 0.5), np.array([0.0, 0.5, 10.0]), np.array([[0.4, 0.6, 0.0], [0.3, 0.3, 0.4]])
    )
    alone = TerminalLaw(np.ones(1), law.rewards[:2], law.probabilities[:1, :2])
    for end in (laws.sequence_forward_kl, laws.group_normalised):
        both = end(law, 0.2)
        np.testing.assert_allclose(both[0, :2], end(alone, 0.2)[0], atol=1e-12)
        assert both[0, 2] == 0.0


def test_a_prompt_without_stakes_stays_at_the_reference() -> None:
    law = TerminalLaw(np.full(2, 0.5), np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    np.testing.assert_allclose(laws.group_normalised(law, 1.0)[0], [1.0, 0.0])


def spreads(law: TerminalLaw, start: int, coefficients: Array) -> Array:
    """sd(r) of one start's law, tilted at each of the coefficients."""
    one = TerminalLaw(np.ones(1), law.rewards, law.probabilities[[start]])
    return np.array([np.sqrt(laws.variance(one, laws.tilt(one, np.array([c]))))[0] for c in coefficients])


def flow_from_the_reference(law: TerminalLaw, kl_coef: float) -> Array:
    """The law after many natural gradient steps on rewards over their standard deviation."""
    held = law.probabilities > 0
    log_weight = np.zeros_like(law.probabilities)
    for _ in range(1_500):
        flow = law.probabilities * np.exp(log_weight)
        flow /= flow.sum(axis=1, keepdims=True)
        deviation = np.maximum(np.sqrt(laws.variance(law, flow)), 1e-3)[:, None]
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
        tilted = laws.group_normalised(law, task.kl_coef)
        spread = np.sqrt(laws.variance(law, tilted))
        at_reference = np.sqrt(laws.variance(law, law.probabilities))
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
        tilted = laws.best_of(law, n)
        chances = text_law(law, texts, tilted)
        nats = 0.0
        for start in range(len(law.start)):
            mine = texts.start == start
            known = tuples(law, texts, n, start)
            np.testing.assert_allclose(chances[mine], known, atol=1e-12)
            nats += law.start[start] * float(known @ (np.log(known) - texts.log_reference[mine]))
            ties += int(mine.sum() > (law.probabilities[start] > 0).sum())
        assert laws.of_law(law, tilted, task.kl_coef).kl == pytest.approx(nats, abs=1e-12)
        assert nats <= math.log(n) - (n - 1) / n + 1e-12
        assert n == 1 or nats < math.log(n) - (n - 1) / n
    assert ties


def test_the_best_n_is_the_best_of_all_n() -> None:
    counts = set()
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, kl_coef = terminal_law(task.problem), task.kl_coef / 4
        found = laws.best_count(law, kl_coef)
        objectives = [laws.of_law(law, laws.best_of(law, n), kl_coef).objective for n in range(1, 400)]
        assert objectives[found - 1] == pytest.approx(max(objectives), abs=1e-9)
        counts.add(found)
    assert len(counts) > 3


def test_of_all_that_earn_the_highest_reward_pi0_given_it_has_the_least_kl() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        chances = text_law(law, texts, laws.highest(law))
        nats = 0.0
        for start in range(len(law.start)):
            mine = texts.start == start
            top = mine & (texts.reward > texts.reward[mine].max() - 1e-9)
            share = float(np.exp(texts.log_reference[top]).sum())
            np.testing.assert_allclose(chances[top], np.exp(texts.log_reference[top]) / share, atol=1e-12)
            np.testing.assert_allclose(chances[mine & ~top], 0.0)
            nats -= law.start[start] * np.log(share)
            # whatever else is written of them has more
            other = np.random.default_rng(seed).dirichlet(np.ones(top.sum()))
            assert other @ (np.log(other) - texts.log_reference[top]) >= -np.log(share) - 1e-12
        assert laws.of_law(law, laws.highest(law), task.kl_coef).kl == pytest.approx(nats, abs=1e-12)


def test_the_natural_gradient_of_the_reward_alone_ends_at_pi0_given_the_highest() -> None:
    """Steps of single tokens, log pi + rate (Q - V), on every history: texts written out, no law."""
    for seed in SEEDS[:4]:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        rows = task.reference.rows(texts.contexts).copy()
        for _ in range(1_500):
            signal = Signal(texts, rows, task)
            gradient = signal.gradient(signal.score(signal.to_go(signal.paid)))
            # the gradient of a visit is pi (Q - V); large steps would leave the tilted laws
            rows = rows + 0.02 * gradient / np.exp(rows)
            rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        signal = Signal(texts, rows, task)
        found, known = signal.chance.detach().numpy(), text_law(law, texts, laws.highest(law))
        np.testing.assert_allclose(found, texts.chance * known, atol=1e-3)


def test_a_reference_that_is_reset_sharpens_with_each_reset() -> None:
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        chances = np.exp(texts.log_reference)
        for resets in range(4):
            chances = chances * np.exp(texts.reward / task.kl_coef)
            for start in range(len(law.start)):
                chances[texts.start == start] /= chances[texts.start == start].sum()
            found = text_law(law, texts, laws.reset_reference(law, task.kl_coef, resets))
            np.testing.assert_allclose(found, chances, atol=1e-12)
        np.testing.assert_allclose(
            laws.reset_reference(law, task.kl_coef, 10_000), laws.highest(law), atol=1e-9
        )


@pytest.mark.parametrize("replayed", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("ratio", [1.0, 3.0, 500.0])
def test_a_regression_on_a_value_ends_where_it_is_said_to(ratio: float, replayed: float) -> None:
    moved = 0.0
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        law, texts = terminal_law(task.problem), written_out(task)
        value_coef = ratio * task.kl_coef
        tilted = laws.regressed_on_a_value(law, task.kl_coef, value_coef, replayed=replayed)
        rows = rows_of(texts, text_law(law, texts, tilted), task.tokens)
        signal = Signal(texts, rows, task)
        np.testing.assert_allclose(
            signal.gradient(regressed_on_a_value(signal, value_coef, replayed)), 0.0, atol=1e-8
        )
        optimum = laws.tilt(law, np.full(len(law.start), task.kl_coef))
        moved = max(moved, float(np.abs(tilted - optimum).max()))
        if replayed == 0:  # on-policy the value is a baseline, here and everywhere
            aside = Signal(texts, np.random.default_rng(seed).normal(size=rows.shape), task)
            update = aside.gradient(regressed_on_a_value(aside, value_coef, 0.0)) / (2 * task.kl_coef)
            np.testing.assert_allclose(update, aside.gradient(k1_in_the_reward(aside)), atol=1e-9)
    assert moved > 0.01 if replayed and ratio > 1 else moved < 1e-9


def test_a_regression_on_a_value_says_what_it_takes() -> None:
    law = TerminalLaw(np.ones(1), np.array([0.0, 1.0]), np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"value_coef must be at least kl_coef 0\.2, got 0\.1"):
        laws.regressed_on_a_value(law, 0.2, 0.1, replayed=1.0)
    with pytest.raises(ValueError, match=r"replayed must be 0 to 1, got 2"):
        laws.regressed_on_a_value(law, 0.2, 0.2, replayed=2.0)
