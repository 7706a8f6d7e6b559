"""Replies: what they refuse, and how their outcomes are drawn, averaged and renumbered."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from klrl_envs.reference.markov import UniformReference
from klrl_envs.reward.automata import product
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.replies import NOTHING, Replies
from tests.talk import guessing_game, talkative

GOOD: dict[str, Any] = {
    "states": 4, "texts": [[0, 1], [2]], "state": [3, 1, 3], "chance": [0.25, 1.0, 0.75], "text": [0, 1, 1],
    "after": [0, 2, 2],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": []}, "texts must be at least one"),
        ({"texts": [[0], []]}, "texts must be at least one"),
        ({"state": [3, 1, 4]}, "state must hold numbers from 0 to 3, got 4"),
        ({"state": []}, "state must be integers of shape"),
        ({"text": [0, 1]}, r"text must be integers of shape \[3\]"),
        ({"text": [0, 1, 2]}, "text must hold numbers from 0 to 1, got 2"),
        ({"after": [0, 2, -1]}, "after must hold numbers from 0 to 3, got -1"),
        ({"after": [0, 2, 1]}, "nobody speaks twice in a row"),
        ({"chance": [0.25, 1.0, 0.7]}, "sum to 0.9"),
        ({"chance": [0.0, 1.0, 1.0]}, "chance must be 3 finite numbers above 0"),
        ({"chance": [0.25, 1.0]}, "chance must be 3 finite numbers above 0"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    Replies(**GOOD)
    with pytest.raises(ValueError, match=message):
        Replies(**{**GOOD, **change})


def test_an_automaton_refuses_replies_that_do_not_fit() -> None:
    table = np.zeros((4, 3), dtype=np.int64)
    replies = Replies(**GOOD)
    RewardAutomaton(table, replies=replies)
    with pytest.raises(ValueError, match="leave out execution"):
        RewardAutomaton(table, execution=np.eye(3), replies=replies)
    with pytest.raises(ValueError, match="replies are of 4 states, the automaton has 3"):
        RewardAutomaton(table[:3], replies=replies)
    with pytest.raises(ValueError, match="replies hold token 2; allowed are 0 to 1"):
        RewardAutomaton(table[:, :2], replies=replies)
    with pytest.raises(ValueError, match="a speaking state must not be absorbing"):
        RewardAutomaton(table, absorbing=np.arange(4) == 3, replies=replies)
    with pytest.raises(ValueError, match="what is said at the start leads to an absorbing state"):
        RewardAutomaton(table, start=1, absorbing=np.arange(4) == 2, replies=replies)
    with pytest.raises(ValueError, match="write nothing themselves"):
        product(RewardAutomaton(table, replies=replies), RewardAutomaton(table))


def test_outcomes_are_drawn_by_their_chances() -> None:
    replies = Replies(**GOOD)
    uniform = (np.arange(1000) + 0.5) / 1000
    drawn = replies.draw(np.full(1000, 3), uniform)
    assert replies.state.tolist() == [1, 3, 3] and not replies.certain
    assert np.bincount(drawn, minlength=3).tolist() == [0, 250, 750]
    assert replies.draw(np.array([1, 3, 1]), np.array([0.0, 0.0, 1 - 2**-53])).tolist() == [0, 1, 0]
    assert replies.draw(np.array([3]), np.array([1 - 2**-53])).tolist() == [2]
    np.testing.assert_allclose(replies.mean(np.array([5.0, 1.0, 2.0])), [0, 5, 0, 1.75])
    np.testing.assert_allclose(replies.spread(np.array([9.0, 2.0, 9.0, 4.0])), [2, 1, 3])


def test_many_states_are_drawn_within_their_own_outcomes() -> None:
    rng = np.random.default_rng(0)
    state = np.repeat(np.arange(3000), 7)
    chance = rng.dirichlet(np.ones(7), size=3000).ravel()
    replies = Replies(3001, [[0]], state, chance, np.zeros_like(state), np.full_like(state, 3000))
    asked = rng.integers(3000, size=20_000)
    for uniform in (rng.random(20_000), np.zeros(20_000), np.full(20_000, 1 - 2**-53)):
        assert (replies.state[replies.draw(asked, uniform)] == asked).all()


def test_all_that_may_follow() -> None:
    replies = Replies(**GOOD)
    lane, outcome = replies.branches(np.array([0, 3, 1, 2]))
    assert lane.tolist() == [0, 1, 1, 2, 3] and outcome.tolist() == [NOTHING, 1, 2, 0, NOTHING]
    reference = UniformReference(3)
    zeros = np.zeros(4, dtype=np.int64)
    _, _, state, weight = replies.followed(reference, zeros, np.array([0, 3, 1, 2]), np.full(4, 0.5))
    assert state.tolist() == [0, 0, 2, 2, 2]
    np.testing.assert_allclose(weight, [0.5, 0.125, 0.375, 0.5, 0.5])


def test_fingerprints_follow_what_is_said() -> None:
    table = np.zeros((4, 3), dtype=np.int64)
    plain = RewardAutomaton(table)
    one = RewardAutomaton(table, replies=Replies(**GOOD))
    seen = {plain.fingerprint, one.fingerprint}
    for change in ({"texts": [[0, 1], [1]]}, {"chance": [0.5, 1.0, 0.5]}, {"after": [0, 2, 0]}):
        seen.add(RewardAutomaton(table, replies=Replies(**{**GOOD, **change})).fingerprint)
    assert len(seen) == 5
    for copied in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert copied == one


def test_states_that_no_text_reaches_are_left_out_with_their_replies() -> None:
    task = guessing_game().task
    assert task.exact is not None
    automaton = task.exact.automaton
    wider = np.full((16, 6), 15)
    wider[:13] = automaton.transition
    replies = automaton.replies
    assert replies is not None
    said = Replies(
        16, [[0], [2], [3], [3, 3]], [*replies.state, 14], [*replies.chance, 1.0], [*replies.text, 0],
        [*replies.after, 13],
    )  # fmt: skip
    more = RewardAutomaton(wider, start=3, absorbing=np.isin(np.arange(16), (11, 12)), replies=said)
    assert np.flatnonzero(~more.reachable()).tolist() == [13, 14, 15]
    trimmed = more.trimmed()
    assert trimmed.states == 13 and trimmed.replies is not None
    np.testing.assert_array_equal(trimmed.replies.after, replies.after)
    np.testing.assert_array_equal(trimmed.replies.speaks, replies.speaks)
    assert trimmed.trimmed() is trimmed


def test_random_tasks_with_replies_are_many() -> None:
    assert sum(talkative(seed) is not None for seed in range(60)) > 20
