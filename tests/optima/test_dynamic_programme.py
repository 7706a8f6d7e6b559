"""The soft dynamic programme against enumeration of every text, written without it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klrl_envs.optima.dynamic_programme import solve
from klrl_envs.optima.forward import (
    final_states,
)
from klrl_envs.reference.markov import MarkovReference, UniformReference
from klrl_envs.reward.automaton import RewardAutomaton
from tests.oracles import (
    Instance,
    assert_solved,
    beginnings,
    draw,
    every_lane,
    log_prob_of,
    starts,
    texts,
)

KINDS = ["", "trigram", "context_reward", "prompts", "trigram prompts", "context_reward prompts"]


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_random_instances_equal_enumeration(block):
    for seed in range(20 * block, 20 * block + 20):
        assert_solved(draw(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_random_instances_of_every_kind_equal_enumeration(kind):
    for seed in range(40):
        task = draw(seed, **dict.fromkeys(kind.split(), True))
        assert_solved(task)
        solution = task.solve()
        evaluated = task.evaluate(solution.log_probs)
        assert evaluated.objective == pytest.approx(solution.value, abs=1e-10)
        assert evaluated.expected_reward == pytest.approx(solution.expected_reward, abs=1e-9)
        reference = task.evaluate(lambda context, state, time, rows=task.reference.rows: rows(context))
        assert reference.objective == pytest.approx(solution.reference_value, abs=1e-10)
        ends = final_states(task.problem, solution)
        np.testing.assert_allclose(ends, evaluated.final_states, atol=1e-10)
        np.testing.assert_allclose(final_states(task.problem), reference.final_states, atol=1e-12)
        for start, (prompt, state, _) in enumerate(beginnings(task)):
            alone = np.array([w + r / task.kl_coef for _, w, r in texts(task, state, prompt)])
            known = task.kl_coef * np.logaddexp.reduce(alone)
            assert solution.start_values[start] == pytest.approx(known, abs=1e-10)


def test_the_policy_is_the_tilted_reference():
    for seed in range(20):
        task = draw(seed)
        solution = task.solve()
        for state, _ in starts(task):
            everything = list(texts(task, state))
            tilted = np.array([w + r / task.kl_coef for _, w, r in everything])
            tilted -= np.logaddexp.reduce(tilted)
            found = [log_prob_of(task, solution.log_probs, state, text) for text, _, _ in everything]
            np.testing.assert_allclose(found, tilted, atol=1e-10)


def assert_identity(task: Instance, seed: int, sharpness: float) -> None:
    """J(pi) = J* - kl_coef KL(pi || pi*) of a policy that remembers text, prompt and first state."""
    solution = task.solve()
    rng = np.random.default_rng(seed)
    rows: dict[tuple[int, ...], np.ndarray] = {}

    def log_policy(start: int, text: tuple[int, ...]) -> float:
        total = 0.0
        for length, token in enumerate(text):
            prefix = (start, *text[:length])
            if prefix not in rows:
                logits = rng.normal(scale=sharpness, size=task.automaton.vocab_size)
                rows[prefix] = logits - np.logaddexp.reduce(logits)
            total += float(rows[prefix][token])
        return total

    objective = regret = 0.0
    for start, (prompt, state, chance) in enumerate(beginnings(task)):
        for text, weight, reward in texts(task, state, prompt):
            log_pi = log_policy(start, text)
            objective += chance * math.exp(log_pi) * (reward - task.kl_coef * (log_pi - weight))
            regret += (
                chance
                * math.exp(log_pi)
                * (log_pi - log_prob_of(task, solution.log_probs, state, text, prompt))
            )
    assert regret >= -1e-12
    assert objective == pytest.approx(solution.value - task.kl_coef * regret, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 5.0]), st.sampled_from(KINDS))
def test_regret_is_the_divergence_from_the_optimum(seed, policy_seed, sharpness, kind):
    task = draw(seed, **dict.fromkeys(kind.split(), True))
    task.horizon = min(task.horizon, 3)
    assert_identity(task, policy_seed, sharpness)


@pytest.mark.parametrize("execution", [False, True])
def test_rows_agree_with_values(execution):
    """The soft Bellman equation of every state, from rows and values alone."""
    for seed in range(20):
        task = draw(seed, execution=execution)
        solution = task.solve()
        context, state, time = every_lane(solution)
        rows = solution.log_probs(context, state, time)
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-12)
        tilt = task.kl_coef * (rows - task.reference.rows(context))
        for lane in range(0, time.size, 7):
            now = int(time[lane])
            later = solution.tables[now + 1] if now + 1 < task.horizon else None
            place = int(np.flatnonzero(solution.problem.reached[now] == state[lane])[0])
            known = solution.problem.to_go(later, now)[:, place] - solution.tables[now][context[lane], place]
            np.testing.assert_allclose(tilt[lane], known, atol=1e-9)


def test_values_end_with_the_episode():
    task = draw(3)
    solution = task.solve()
    assert solution.values(0, 0, task.horizon).tolist() == [0.0]
    first = np.flatnonzero(task.automaton.start)
    at_start = solution.values(np.full_like(first, task.reference.start_context), first, np.zeros_like(first))
    assert float(task.automaton.start[first] @ at_start) == pytest.approx(solution.value, abs=1e-14)
    ended = np.flatnonzero(task.automaton.absorbing)
    assert not solution.values(np.zeros_like(ended), ended, np.zeros_like(ended)).any()


def test_the_block_size_of_slow_paths_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=300.0, size=(5, 4))
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    machine = RewardAutomaton(
        rng.integers(3, size=(3, 4)), rng.normal(size=(3, 4)), execution=rng.dirichlet(np.ones(4), size=4)
    )
    task = Instance(MarkovReference(rows[-1], rows[:-1]), machine, 4, 1, 0.5)
    whole = task.solve()
    lanes = every_lane(whole)
    known = (whole.values(*lanes), whole.expected_reward, whole.log_probs(*lanes))
    monkeypatch.setattr("klrl_envs.optima.dynamic_programme.BLOCK", 1)
    again = task.solve()
    np.testing.assert_allclose(again.values(*lanes), known[0], rtol=1e-13)
    assert again.expected_reward == pytest.approx(known[1], rel=1e-13)
    np.testing.assert_allclose(again.log_probs(*lanes), known[2], rtol=1e-12)


def test_questions_out_of_range_are_refused():
    solution = solve(UniformReference(2), RewardAutomaton([[0, 0]]), horizon=2, end_token=None, kl_coef=1.0)
    with pytest.raises(ValueError, match="time must be 0 to 1, got 2"):
        solution.log_probs(0, 0, 2)
    with pytest.raises(ValueError, match="state must be 0 to 0, got -1"):
        solution.values(0, -1, 0)
    with pytest.raises(ValueError, match="context must be 0 to 0, got 1"):
        solution.values(1, 0, 0)


def test_an_optimum_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("klrl_envs.optima.dynamic_programme.MOST_NUMBERS", 0)
    with pytest.raises(ValueError, match="take a bigram, a shorter horizon or fewer states"):
        draw(3).solve()
