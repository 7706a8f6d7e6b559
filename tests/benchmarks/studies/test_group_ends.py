"""Where GRPO's loss ends: its update, spelled out on every group of every text, rests there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.studies.fixed_points import backward, local_forward_kl
from benchmarks.studies.group_ends import (
    SMALL,
    GroupSignal,
    advantages_of,
    counts_of,
    end_of,
    expected_advantages,
    forward,
    owners,
    policy_of,
)
from klrl_envs import evaluation_task
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import problem_of
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.tasks.base import require_exact
from tests.benchmarks.studies.signals import Signal
from tests.benchmarks.studies.texts import Texts, draw, written_out

SEEDS = range(0, 24, 2)  # of one start


def advantages_by_all_groups(rewards: np.ndarray, chances: np.ndarray, signal: GroupSignal) -> np.ndarray:
    """The mean advantage of each reward as the first of a group, over every group."""
    found = np.zeros(len(rewards))
    for places in itertools.product(range(len(rewards)), repeat=signal.group):
        group = rewards[list(places)]
        away = group[0] - group.mean()
        if signal.deviation:
            away /= group.std(ddof=1) + SMALL
        found[places[0]] += away * chances[list(places[1:])].prod()
    return found


@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("group", [2, 3, 5])
def test_advantages_are_the_mean_over_all_groups(group: int, *, deviation: bool) -> None:
    rng = np.random.default_rng(group)
    rewards, chances = rng.normal(size=4), np.append(rng.dirichlet(np.ones(3)), 0.0)
    signal = GroupSignal(group, deviation, by_length=False)
    expected = advantages_by_all_groups(rewards, chances, signal)
    np.testing.assert_allclose(expected_advantages(rewards, chances, signal), expected, atol=1e-9)


def test_counts_are_all_of_them_once() -> None:
    counts = counts_of(5, 3)
    assert len({tuple(row) for row in counts.tolist()}) == len(counts) == 21
    assert (counts.sum(axis=1) == 5).all() and (counts >= 0).all()
    assert counts_of(4, 1).tolist() == [[4]]


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("group", [2, 6])
def test_the_update_rests_at_the_end_and_nowhere_near(
    group: int, *, deviation: bool, by_length: bool
) -> None:
    signal = GroupSignal(group, deviation, by_length)
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        texts = written_out(task)
        heads = end_of(task.problem, task.kl_coef, signal)
        norms = []
        for aside in (0.0, 0.1):
            rng = np.random.default_rng(seed)
            policy = policy_of(
                task.problem, [head + rng.normal(scale=aside, size=head.shape) for head in heads]
            )
            written = Signal(texts, policy.state_log_probs(texts.contexts, texts.states, texts.times), task)
            levels, place = np.unique(texts.reward.round(9), return_inverse=True)
            law = np.bincount(place, weights=written.chance.numpy()).astype(float)
            worth = torch.from_numpy(expected_advantages(levels, law, signal)[place])
            nats = written.ratio
            loss = -worth[:, None] * written.log_probs + task.kl_coef * (torch.exp(-nats) - 1 + nats)
            weight = written.chance / (torch.from_numpy(texts.written.sum(axis=1)) if by_length else 1)
            update = torch.where(written.written, weight[:, None] * loss, 0.0).sum()
            (gradient,) = torch.autograd.grad(update, written.logits)
            norms.append(np.abs(of_states(gradient.numpy(), texts)).max())
        assert norms[0] < 1e-5 and norms[1] > 1e-3, (seed, norms)


def of_states(gradient: np.ndarray, texts: Texts) -> np.ndarray:
    """The gradient of f, which all histories of one state and time share."""
    _, place = np.unique(np.stack([texts.states, texts.times]), axis=1, return_inverse=True)
    found = np.zeros((place.max() + 1, gradient.shape[1]))
    np.add.at(found, place, gradient)
    return found


def test_with_one_context_large_groups_with_sums_end_where_the_loss_without_groups_does() -> None:
    signal = GroupSignal(60, deviation=False, by_length=False)
    for seed in SEEDS:
        task = draw(seed, terminal=True)
        row = task.reference.rows(np.arange(1))[0]
        problem = replace(task.problem, reference=MarkovReference(row, np.tile(row, (len(row), 1))))
        policy = policy_of(problem, end_of(problem, task.kl_coef, signal))
        end = evaluate_markov(problem, policy.state_log_probs, kl_coef=task.kl_coef)
        plain = backward(problem, local_forward_kl(task.kl_coef))
        value = evaluate_markov(problem, plain.state_log_probs, kl_coef=task.kl_coef)
        assert end.expected_reward == pytest.approx(value.expected_reward, abs=0.02)
        assert end.kl == pytest.approx(value.kl, abs=0.02 + 0.05 * value.kl)


def test_prompts_apart_have_a_law_each() -> None:
    problem = problem_of(require_exact(evaluation_task("klrl/DiagnosticPromptScale-v0"), "the test"))
    owner = owners(problem)
    assert owner.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    heads = [np.zeros((problem.automaton.vocab_size, states.size)) for states in problem.reached]
    ends = forward(policy_of(problem, heads))[1]
    worth = advantages_of(problem, owner, ends, GroupSignal(4, deviation=True, by_length=False))
    np.testing.assert_allclose(worth[:, :8], worth[:, 16:], rtol=1e-3, err_msg="divided: every stake alike")
    plain = advantages_of(problem, owner, ends, GroupSignal(4, deviation=False, by_length=False))
    np.testing.assert_allclose(100 * plain[:, :8], plain[:, 16:], rtol=1e-9)


def test_what_has_no_single_law_or_is_paid_before_the_end_is_refused() -> None:
    signal = GroupSignal(4, deviation=True, by_length=True)
    task = draw(0)
    assert task.automaton.reward.any()
    with pytest.raises(ValueError, match="must be paid at the end"):
        end_of(task.problem, 0.1, signal)
    talk = problem_of(require_exact(evaluation_task("klrl/Dialogue-v0"), "the test"))
    with pytest.raises(ValueError, match="nothing else be drawn"):
        end_of(talk, 0.1, signal)
    rewards = np.linspace(0, 1, 9)
    with pytest.raises(ValueError, match=r"9 rewards have .* in groups of 32: too many"):
        expected_advantages(rewards, np.full(9, 1 / 9), GroupSignal(32, deviation=True, by_length=True))
    several = next(
        drawn
        for seed in range(1, 50, 2)
        if len(np.unique((drawn := draw(seed, terminal=True)).problem.starts[1])) > 1
        and not np.array_equal(drawn.automaton.transition, np.arange(drawn.automaton.states)[:, None])
    )
    with pytest.raises(ValueError, match="two starts reach one state"):
        end_of(several.problem, 0.1, signal)
