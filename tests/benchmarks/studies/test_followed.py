"""Where signals go that are followed: each step is the natural gradient of what is said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from benchmarks.studies import followed
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from tests.benchmarks.studies.signals import (
    Signal,
    exact_kl_and_its_gradient,
    k3_in_the_reward,
    token_k3_in_the_reward,
)
from tests.benchmarks.studies.texts import draw, rows_of, text_law, written_out

SEEDS = range(12)


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
        laws = followed.sequence_k3_in_the_reward(law, task.kl_coef, steps=5, learning_rate=0.02)
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
    *_, last = followed.sequence_k3_in_the_reward(law, 2.0, steps=20_000, learning_rate=0.01)
    weights = last / law.probabilities
    assert weights[0, 0] == pytest.approx(0.0, abs=1e-12)  # a millionth of reward decides which is dropped
    assert weights[0, 1] > 1


def test_a_step_with_token_k3_in_the_reward_is_the_natural_policy_gradient() -> None:
    """The gradient of a visit is pi (Q - V) at every history, and the step Q - V up to rounding."""
    for seed in SEEDS:
        task = draw(seed)
        texts = written_out(task)
        rate = 0.02
        before, after = (
            followed.token_k3_in_the_reward(
                task.problem, task.kl_coef, steps=steps, learning_rate=rate
            ).state_log_probs(texts.contexts, texts.states, texts.times)
            for steps in (3, 4)
        )
        signal = Signal(texts, before, task)
        wanted = before + rate * signal.gradient(token_k3_in_the_reward(signal)) / np.exp(before)
        wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(after, wanted, atol=1e-10)
        assert np.abs(after - before).max() > 1e-5


def test_token_k3_in_the_reward_sees_the_kl_to_come_and_pays_for_dropping_tokens() -> None:
    for seed in SEEDS:
        task = draw(seed)
        texts = written_out(task)
        rows = np.random.default_rng(seed).normal(size=(len(texts.times), task.tokens))
        signal = Signal(texts, rows, task)
        dropped = (signal.reference_rows.exp() * (signal.reference_rows - signal.rows)).sum(dim=1)
        known = exact_kl_and_its_gradient(signal) + task.kl_coef * signal.visited(dropped)
        np.testing.assert_allclose(
            signal.gradient(token_k3_in_the_reward(signal)), signal.gradient(known), atol=1e-9
        )


def test_token_k3_in_the_reward_ends_where_single_tokens_are_left() -> None:
    """At every history that is still reached, tokens are certain or dropped, or are those that gained."""
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        texts = written_out(task)
        policy = followed.token_k3_in_the_reward(task.problem, task.kl_coef, steps=1_000, learning_rate=0.2)
        rows = policy.state_log_probs(texts.contexts, texts.states, texts.times)
        signal = Signal(texts, rows, task)
        weights = np.exp(rows - signal.reference_rows.numpy())
        lost = (weights < 1 - 1e-6) & (weights > 1e-9)
        reached = np.zeros(len(rows), dtype=bool)
        reached[texts.history[texts.written & (signal.chance.detach().numpy() > 1e-6)[:, None]]] = True
        assert (lost[reached].sum(axis=1) <= 1).all()
