"""Values of all times from each step: the solver's optimum once all is seen, and what is believed before."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from agents import q_learning
from agents.bayesian_policy import plan
from agents.exploration import EXPLORE
from agents.networks.lanes import StateEpisodes, write_episodes
from agents.networks.state_values import StateValues, fits_words, guessed
from agents.networks.trajectories import make_engine
from agents.q_learning import QArguments, SoftQ, table_of
from agents.sarsa import WordSarsa
from klrl_envs import AutomatonTask, RewardAutomaton
from klrl_envs.optima.dynamic_programme import solve
from tests.agents.test_bayesian_policy import certain_truth, played, small_tasks
from tests.agents.tiny import tiny_task
from tests.talk import guessing_game


def values_of(task: Any, replays: float = 4.0) -> StateValues:
    return StateValues(task, replays, np.random.default_rng(1))


def drawn_task(seed: int) -> AutomatonTask:
    """Any task of up to four tokens, four states and five steps that a table of words fits."""
    rng = np.random.default_rng(seed)
    tokens, states, horizon = (int(rng.integers(1, most)) for most in (5, 5, 6))
    absorbing = rng.random(states) < 0.3
    absorbing[0] = False
    start = rng.random(states) * (rng.random(states) < 0.6) * ~absorbing
    start = start / start.sum() if start.any() else np.eye(states)[0]
    automaton = RewardAutomaton(
        rng.integers(0, states, (states, tokens)),
        reward=rng.normal(size=(states, tokens)) if rng.random() < 0.6 else None,
        final_reward=rng.normal(size=states),
        horizon_reward=rng.normal(size=states) if rng.random() < 0.5 else None,
        start=start,
        absorbing=absorbing,
    ).trimmed()
    rows = rng.dirichlet(np.ones(tokens), size=tokens + 1) + 0.02
    rows = np.log(rows / rows.sum(axis=1, keepdims=True))
    uniform = rng.random() < 0.3
    reference = (
        klrl_envs.UniformReference(tokens) if uniform else klrl_envs.BigramReference(rows[-1], rows[:-1])
    )
    end_token = int(rng.integers(tokens)) if rng.random() < 0.5 else None
    kl_coef = float(rng.choice([0.05, 0.3, 1.0]))
    env: Any = klrl_envs.exact_task(
        reference, automaton, horizon=horizon, kl_coef=kl_coef, end_token=end_token
    ).unwrapped
    return env.task


def any_texts(task: AutomatonTask, lanes: int, seed: int, batches: int) -> list[StateEpisodes]:
    """Texts of uniform tokens."""
    engine, rng = make_engine(task, lanes, seed), np.random.default_rng(seed)
    even = np.full((lanes, task.vocab_size), -np.log(task.vocab_size))
    return [write_episodes(engine, lambda *state: even, rng) for _ in range(batches)]


def largest_gap(table: StateValues, task: AutomatonTask) -> float:
    """The largest error of log pi* that a table makes, nats, wherever the task may come to."""
    best = solve(
        task.reference, task.automaton, horizon=task.horizon, end_token=task.end_token, kl_coef=task.kl_coef
    )
    gaps = []
    for time, states in enumerate(best.problem.reached):
        first = np.array([task.reference.start_context])
        for state in states:
            context = np.arange(task.reference.contexts) if time else first
            place = context, np.full_like(context, state), np.full_like(context, time)
            exact = best.log_probs(*place)
            told = np.isfinite(exact)
            gaps.append(np.abs(table.state_log_probs(*place) - exact)[told].max(initial=0.0))
    return max(gaps)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_task_they_come_to_the_optimum(seed: int) -> None:
    """Seeds 13 and 16 have states that are seldom reached, or by last tokens alone."""
    task = drawn_task(seed)
    texts = any_texts(task, 128, seed, 16)
    table, sarsa = values_of(task), WordSarsa(task, EXPLORE["reference"], 4.0, np.random.default_rng(1))
    for written in texts:
        table.learn(written)
        sarsa.learn_from(written, 0.0)
    assert largest_gap(table, task) < 1e-3
    assert largest_gap(sarsa, task) < 1e-3


@pytest.mark.parametrize("seed", range(12))
def test_a_constant_added_to_every_text_changes_nothing(seed: int) -> None:
    """Of few texts, so that much is guessed."""
    task = drawn_task(seed)
    automaton = task.automaton
    more = RewardAutomaton(
        automaton.transition,
        reward=automaton.reward,
        final_reward=automaton.final_reward - 3,
        horizon_reward=automaton.horizon_reward - 3,
        start=automaton.start,
        absorbing=automaton.absorbing,
    )
    tables = []
    for each in (task, replace(task, automaton=more)):
        table = values_of(each)
        for written in any_texts(each, 3, seed, 3):
            table.learn(written)
        tables.append(table)
    states = task.automaton.states
    for time in range(task.horizon):
        for context in range(task.reference.contexts):
            place = np.full(states, context), np.arange(states), np.full(states, time)
            one, other = (table.state_log_probs(*place) for table in tables)
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", ["short", "at the end", "apart", "on the way"])
def test_one_batch_reaches_the_beginning(name: str) -> None:
    """What the last step pays is in the first step's value at once."""
    task = small_tasks()[name]
    table = values_of(task, replays=0.0)
    table.learn(played(task, 2048))
    exact = plan(task, certain_truth(task))
    np.testing.assert_allclose(table.values[0, 0], exact[0, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["at the end", "apart"])
def test_the_last_tokens_values_come_from_all_tokens(name: str) -> None:
    """Of a few texts: a step is worth in the last place what it was seen to lead to in another."""
    task = small_tasks()[name]
    written = played(task, 12, seed=3)
    whole = written.mask[:, -1]
    last = {
        (int(state), int(token))
        for state, token in zip(written.state[whole, -1], written.actions[whole, -1], strict=True)
    }
    table = values_of(task)
    table.learn(written)
    visits = table.visited(np.zeros(3, dtype=np.int64), np.arange(3), 0)
    reached = set(written.after[whole, -1].tolist())
    after, exact = task.automaton.transition, plan(task, certain_truth(task))
    known = [
        (state, token)
        for state, token in np.argwhere(visits > 0).tolist()
        if after[state, token] in reached or token == task.end_token
    ]
    assert set(known) - last, "a pair that no text ended with"
    for state, token in known:
        assert table.values[-1, state, token] == pytest.approx(exact[-1, state, token], abs=1e-6)


def test_what_is_not_known_is_guessed_by_row_and_column() -> None:
    """An additive table with holes is filled by its parts, but for the zero that columns count with."""
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=(400, 1)), rng.normal(size=30)
    exact = (rows + columns - columns.mean()).astype(np.float32)
    known = rng.random(exact.shape) < np.linspace(0.1, 0.9, 30)
    values, parts = np.where(known, exact, np.float32(7)), np.zeros(30, dtype=np.float32)
    for _ in range(20):
        filled, parts = guessed(values, known, parts)
    np.testing.assert_array_equal(filled[known], exact[known])
    assert np.abs(filled - exact)[~known].max() < 0.1 < np.std(exact)
    nothing, _ = guessed(values, np.zeros_like(known), parts)
    assert not nothing.any()
    some = known.copy()
    some[5] = False
    row, parts = guessed(values, some, np.zeros(30, dtype=np.float32))
    held = values[some]
    np.testing.assert_allclose(
        row[5] - parts, held.mean(), atol=1e-5, err_msg="of a row of which nothing is known"
    )


def test_replays_learn_from_what_was_written_before() -> None:
    """Of texts that leave a step out, what follows it was wrong: it is learnt again without being written."""
    task = small_tasks()["on the way"]
    written, other = played(task, 64), played(task, 1, seed=2)
    exact = plan(task, certain_truth(task))
    wrong = {}
    for replays in (0.0, 50.0):
        table = values_of(task, replays)
        table.learn(other)
        table.values[:] = 9.0
        table.learn(other)
        table.learn(written)
        visited = table.visited(np.zeros(3, dtype=np.int64), np.arange(3), 0) > 0
        table.values[:, visited] += 1.0
        table.learn(other)
        wrong[replays] = np.abs(table.values[:, visited] - exact[:, visited]).max()
    assert wrong[50.0] < 1e-5 < 0.5 < wrong[0.0]


def test_noise_on_the_reward_is_averaged() -> None:
    task = replace(tiny_task(), reward_noise=0.5)
    table = values_of(task)
    for seed in range(8):
        table.learn(played(task, 1024, seed))
    assert largest_gap(table, task) < 0.2
    first = values_of(task)
    first.learn(played(task, 16))
    assert largest_gap(first, task) > largest_gap(table, task)


def test_it_is_kept_and_read_again(tmp_path: Path) -> None:
    task = tiny_task()
    table = values_of(task)
    table.learn(played(task, 64))
    klrl_envs.save_policy(table, tmp_path / "policy.safetensors")
    again: Any = klrl_envs.load_policy(tmp_path / "policy.safetensors", task)[0]
    place = np.array([0, 1]), np.array([0, 1]), np.array([1, 1])
    np.testing.assert_array_equal(again.state_log_probs(*place), table.state_log_probs(*place))


def test_the_agents_take_the_table_that_fits() -> None:
    words: Any = klrl_envs.make_task("Keywords-v0")
    slippery: Any = klrl_envs.make_task("GridNavigation-v0", slip=0.2)
    elsewhere: Any = klrl_envs.make_task("DiagnosticReference-v0")
    assert isinstance(table_of(words, QArguments()), StateValues)
    assert isinstance(table_of(slippery, QArguments()), SoftQ)
    begun = table_of(elsewhere, QArguments())
    assert elsewhere.initial_policy is not None and isinstance(begun, SoftQ), "it must begin there"
    with pytest.raises(ValueError, match="learning-rate-decay is for tables of contexts"):
        table_of(words, QArguments(learning_rate_decay=0.5))


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    slippery: Any = klrl_envs.make_task("GridNavigation-v0", slip=0.2)
    talk: Any = guessing_game(horizon=3).task
    elsewhere: Any = klrl_envs.make_task("DiagnosticReference-v0")
    for task in (slippery, talk, elsewhere):
        assert not fits_words(task)
        with pytest.raises(ValueError, match="a table of words needs an environment without luck"):
            values_of(task)
    for replays in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="replays must be 0 or more, got"):
            values_of(tiny_task(), replays)
    with pytest.raises(ValueError, match="has others for its evaluation prompts"):
        q_learning.train(QArguments(env_id="klrl/Arithmetic-v0", tokens=10, out=str(tmp_path)))


@pytest.mark.parametrize("explore", sorted(EXPLORE))
def test_every_way_to_explore_fits_words(explore: str) -> None:
    task = small_tasks()["at the end"]
    table, engine, rng = values_of(task), make_engine(task, 16, 0), np.random.default_rng(0)
    strength = 0.5 if explore != "ucb" else 3.0
    for _ in range(30):
        behaviour = partial(q_learning.behave, table, EXPLORE[explore], strength)
        table.learn(write_episodes(engine, behaviour, rng))
    assert largest_gap(table, task) < 1e-3
