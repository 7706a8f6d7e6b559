"""Soft SARSA: its values are those of what it does, and pi* where it explores nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from agents import sarsa
from agents.exploration import EXPLORE, normalised
from agents.networks.lanes import write_episodes
from agents.networks.trajectories import make_engine
from agents.sarsa import WITH_LUCK, SarsaArguments, SoftSarsa, WordSarsa, table_of
from klrl_envs import AutomatonTask, evaluate_exactly, make_task
from tests.agents.test_best_of_n import env_of
from tests.agents.tiny import SMALL_GRID, tiny_task


def learnt(task: AutomatonTask, strength: float, *, expected: bool, decay: float | None, rounds: int):
    """A table after so many batches of 256 episodes that it explores itself."""
    table = SoftSarsa(task, EXPLORE["reference"], expected=expected, decay=decay)
    engine, rng = make_engine(task, 256, 0), np.random.default_rng(0)
    for _ in range(rounds):
        table.learn_from(
            write_episodes(engine, lambda *state: table.behaviour_at(strength, *state), rng), strength
        )
    return table


def worth(task: AutomatonTask, strength: float, context: int, state: int, time: int) -> np.ndarray:
    """Q [V] of the tiny task where the agent explores for ever: all that may follow, written out."""
    values = np.zeros(3)
    for token in range(3):
        after = int(task.automaton.transition[state, token])
        if token == task.end_token or time == task.horizon - 1:
            values[token] = task.automaton.final_reward[after]
            continue
        following = worth(task, strength, token, after, time + 1)
        reference = task.reference.rows(np.array([token]))
        rows = normalised(reference + following / task.kl_coef)
        behaviour = np.log((1 - strength) * np.exp(rows) + strength * np.exp(reference))[0]
        paid = following - task.kl_coef * (behaviour - reference[0])
        values[token] = np.exp(behaviour) @ paid
    return values


@pytest.mark.parametrize(("strength", "expected"), [(0.9, True), (0.9, False), (0.0, True), (0.0, False)])
def test_its_values_are_those_of_what_it_does(strength: float, expected: bool) -> None:
    task = tiny_task()
    certain = expected or strength == 0  # then every token tells the same
    table = learnt(
        task, strength, expected=expected, decay=0.0 if certain else 1.0, rounds=4 if certain else 60
    )
    start = int(table.index(np.array([task.reference.start_context]), np.array([0]), 0)[0])
    exact = worth(task, strength, task.reference.start_context, 0, 0)
    np.testing.assert_allclose(table.values[start], exact, atol=1e-9 if certain else 0.01)
    if strength:
        assert np.abs(exact - worth(task, 0.0, task.reference.start_context, 0, 0)).max() > 0.02


def test_without_exploration_it_is_the_optimum() -> None:
    task = tiny_task()
    table = learnt(task, 0.0, expected=True, decay=None, rounds=4)
    score = evaluate_exactly(table, env_of(task)).score
    assert score == pytest.approx(1.0, abs=1e-9)


def test_lanes_in_one_state_count_by_their_mean() -> None:
    table = SoftSarsa(tiny_task(), EXPLORE["reference"], decay=1.0)
    pair = np.array([5, 5, 6]), np.array([1, 1, 2])
    table.update(*pair, np.array([1.0, 3.0, 4.0]))
    assert (table.values[5, 1], table.values[6, 2]) == (2.0, 4.0)
    assert (table.visits[5, 1], table.visits[6, 2], table.visits.sum()) == (2, 1, 3)
    table.update(np.array([5]), np.array([1]), np.array([5.0]))
    assert table.values[5, 1] == pytest.approx(3.0), "of 1, 3 and 5"


def test_what_was_never_tried_leaves_the_policy_at_the_reference() -> None:
    task = klrl_envs.make_task("DiagnosticReference-v0").exact
    assert task is not None and task.initial_policy is not None
    table, state = SoftSarsa(task, EXPLORE["reference"]), np.array([5])
    first = table.log_rows(state)[0]
    table.update(state, np.array([1]), np.array([3.0]))
    rows = table.log_rows(state)[0]
    others = np.arange(task.vocab_size) != 1
    np.testing.assert_allclose(np.ptp((rows - first)[0, others]), 0.0, atol=1e-9)
    np.testing.assert_allclose(
        table.values[5, others].mean() - 3.0, SoftSarsa(task, EXPLORE["reference"]).values[5, others].mean()
    )


def test_it_averages_where_targets_are_drawn() -> None:
    grid, slippery = make_task("GridNavigation-v0").exact, make_task("GridNavigation-v0", slip=0.1).exact
    assert grid is not None and slippery is not None
    explore = EXPLORE["reference"]
    assert SoftSarsa(grid, explore).decay == 0.0
    assert SoftSarsa(grid, explore, expected=False).decay == WITH_LUCK
    assert SoftSarsa(slippery, explore).decay == WITH_LUCK


@pytest.mark.slow
@pytest.mark.parametrize("expected", [True, False])
def test_it_learns_a_grid(expected: bool, tmp_path: Path) -> None:
    args = SarsaArguments(
        env_kwargs=SMALL_GRID, tokens=60_000, expected=expected, out=str(tmp_path), episodes=64
    )
    score = sarsa.train(args).score_estimate
    assert score is not None and 0.8 < score <= 1 + 1e-9


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sarsa needs an exact environment"):
        sarsa.train(SarsaArguments(env_id="klrl/Sentiment-v0", tokens=10, out=str(tmp_path)))
    with pytest.raises(ValueError, match=r"a table of .* is too large for Keywords-v0"):
        sarsa.train(SarsaArguments(env_id="klrl/Keywords-v0", expected=False, tokens=9, out=str(tmp_path)))


@pytest.mark.parametrize("strength", [0.9, 0.0])
def test_of_words_its_values_are_those_of_what_it_does(strength: float) -> None:
    task = tiny_task()
    table = WordSarsa(task, EXPLORE["reference"], 0.0, np.random.default_rng(1))
    engine, rng = make_engine(task, 256, 0), np.random.default_rng(0)
    for _ in range(6):
        behaviour = partial(table.behaviour_at, strength)
        table.learn_from(write_episodes(engine, behaviour, rng), strength)
    exact = worth(task, strength, task.reference.start_context, 0, 0)
    np.testing.assert_allclose(table.values[0, 0], exact, atol=1e-6)


def test_the_token_taken_is_learnt_from_in_a_table_of_contexts() -> None:
    task = tiny_task()
    tables = [table_of(task, SarsaArguments(expected=way), EXPLORE["reference"]) for way in (True, False)]
    assert [type(table) for table in tables] == [WordSarsa, SoftSarsa]
    with pytest.raises(ValueError, match="learning-rate-decay is for tables of contexts"):
        table_of(task, SarsaArguments(learning_rate_decay=0.5), EXPLORE["reference"])
