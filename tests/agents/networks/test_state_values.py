"""Values of all times from each step: the library's optimum once all is seen, and what is believed before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import klrl_envs
from agents.bayesian_policy import plan
from agents.networks.state_values import StateValues
from agents.q_learning import QArguments, SoftQ, table_of
from klrl_envs import RewardAutomaton, evaluate_exactly
from tests.agents.test_bayesian_policy import certain_truth, played, small_tasks
from tests.agents.test_best_of_n import env_of
from tests.agents.tiny import tiny_task
from tests.talk import guessing_game

NAMES = ("short", "at the end", "apart", "on the way")


def values_of(task: Any, replays: float = 4.0) -> StateValues:
    return StateValues(task, replays, np.random.default_rng(1))


@pytest.mark.parametrize("name", NAMES)
def test_they_come_to_the_soft_values_and_the_optimum(name: str) -> None:
    task = small_tasks()[name]
    table = values_of(task)
    visited = np.zeros(table.values.shape, dtype=bool)
    for seed in range(40):
        written = played(task, 64, seed)
        times = np.broadcast_to(np.arange(written.mask.shape[1]), written.mask.shape)
        visited[times[written.mask], written.state[written.mask], written.actions[written.mask]] = True
        table.learn(written)
    exact = plan(task, certain_truth(task))
    assert visited[0, 0].all() and visited[1, :2].all()
    np.testing.assert_allclose(table.values[visited], exact[visited], atol=1e-5)
    assert evaluate_exactly(table, env_of(task)).score == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["at the end", "apart"])
def test_the_last_tokens_values_come_from_all_tokens(name: str) -> None:
    """Of a few texts: a step is worth in the last place what it was seen to lead to in another."""
    task = small_tasks()[name]
    written = played(task, 12, seed=3)
    last = {(int(s), int(a)) for s, a in zip(written.state[:, -1], written.actions[:, -1], strict=True)}
    table = values_of(task)
    table.learn(written)
    seen = np.argwhere(table.visited(np.zeros(3, dtype=np.int64), np.arange(3), 0) > 0)
    assert any((state, token) not in last for state, token in seen.tolist()), "a pair that no text ended with"
    exact = plan(task, certain_truth(task))
    reached = {int(state) for state in written.after[written.mask[:, -1], -1]}
    after = task.automaton.transition
    known = [(s, a) for s, a in seen.tolist() if after[s, a] in reached or a == task.end_token]
    assert len(known) > 3
    for state, token in known:
        assert table.values[-1, state, token] == pytest.approx(exact[-1, state, token], abs=1e-6)


def test_what_was_never_tried_is_worth_what_was() -> None:
    reference = klrl_envs.UniformReference(4)
    automaton = RewardAutomaton(np.array([[0, 1, 0, 0], [1] * 4]), final_reward=np.array([0.0, 1.0]))
    task: Any = klrl_envs.exact_task(reference, automaton, horizon=3, kl_coef=0.5).unwrapped
    task = task.task
    written = played(task, 256)
    table = values_of(task, replays=0.0)
    keep = ~(written.actions == 3).any(axis=1)
    columns = {name: value[keep] for name, value in vars(written).items() if name != "texts"}
    table.learn(replace(written, **columns, texts=[]))
    np.testing.assert_allclose(table.values[:, 0, 3], table.values[:, 0, :3].mean(axis=1), atol=1e-6)
    assert table.values[-1, 0].tolist() == pytest.approx([0, 1, 0, 1 / 3])


def test_replays_learn_from_what_was_written_before() -> None:
    """The first texts knew nothing of what follows; without new ones they are learnt from again."""
    task = small_tasks()["at the end"]
    written, other = played(task, 256), played(task, 1)
    exact = plan(task, certain_truth(task))
    wrong = {}
    for replays in (0.0, 50.0):
        table = values_of(task, replays)
        for _ in range(6):
            table.learn(written if not table.values.any() else other)
        visited = table.visited(np.zeros(3, dtype=np.int64), np.arange(3), 0) > 0
        wrong[replays] = np.abs(table.values[:, visited] - exact[:, visited]).max()
    assert wrong[50.0] < 1e-6 < 0.01 < wrong[0.0]


def test_q_learning_takes_the_table_that_fits() -> None:
    assert isinstance(table_of(tiny_task(), QArguments()), SoftQ)
    words: Any = klrl_envs.make_task("Keywords-v0")
    assert isinstance(table_of(words, QArguments()), StateValues)


def test_what_it_needs_is_said() -> None:
    slippery: Any = klrl_envs.make_task("GridNavigation-v0", slip=0.2)
    talk: Any = guessing_game(horizon=3).task
    for task in (slippery, talk):
        with pytest.raises(ValueError, match="a table of words needs an environment without luck"):
            values_of(task)
    with pytest.raises(ValueError, match="replays must be 0 or more, got -1"):
        values_of(tiny_task(), -1)
