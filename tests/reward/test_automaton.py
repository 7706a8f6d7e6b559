"""Reward automata: what they hold, what they refuse."""

import copy
import pickle

import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.dynamic_programme import solve
from klrl_envs.reward.automaton import RewardAutomaton

TWO = np.array([[0, 1, 0], [1, 1, 1]])
"""State 1 once token 1 was seen; three tokens."""


def test_defaults_are_arrays():
    automaton = RewardAutomaton(TWO.tolist())
    assert (automaton.states, automaton.vocab_size) == (2, 3)
    assert automaton.reward.shape == (2, 3) and not automaton.reward.any()
    assert automaton.final_reward.tolist() == automaton.horizon_reward.tolist() == [0.0, 0.0]
    assert automaton.start.tolist() == [1.0, 0.0]
    assert automaton.absorbing.tolist() == [False, False]
    assert automaton.execution is None and automaton.deterministic and automaton.terminal


def test_the_horizon_pays_the_final_reward_unless_told():
    assert RewardAutomaton(TWO, final_reward=[0, 1]).horizon_reward.tolist() == [0.0, 1.0]
    other = RewardAutomaton(TWO, final_reward=[0, 1], horizon_reward=[-1, 0])
    assert other.horizon_reward.tolist() == [-1.0, 0.0]


def test_arrays_are_copies_and_read_only():
    transition, final = TWO.copy(), np.array([0.0, 1.0])
    automaton = RewardAutomaton(transition, final_reward=final)
    transition[0, 0], final[0] = 1, 5.0
    assert automaton.transition[0, 0] == 0 and automaton.final_reward[0] == 0.0
    for again in (automaton, pickle.loads(pickle.dumps(automaton)), copy.deepcopy(automaton)):
        with pytest.raises(ValueError, match="read-only"):
            again.final_reward[0] = 1.0
        assert again == automaton and again.fingerprint == automaton.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"transition": [[0, 1, 1], [1, 1, 1]]},
        {"reward": np.full((2, 3), 0.5)},
        {"final_reward": [1.0, 0.0]},
        {"horizon_reward": [0.0, 0.5]},
        {"start": 1},
        {"absorbing": [False, True]},
        {"execution": np.eye(3)},
    ],
)
def test_the_fingerprint_sees_every_part(change):
    plain = RewardAutomaton(TWO)
    other = RewardAutomaton(**{"transition": TWO, **change})
    assert other.fingerprint != plain.fingerprint and other != plain
    assert {plain: 1}[RewardAutomaton(TWO)] == 1


def test_the_fingerprint_is_that_of_the_values_not_of_their_types():
    narrow = RewardAutomaton(TWO.astype(np.int8), final_reward=np.array([0, 1], dtype=np.float32))
    assert narrow == RewardAutomaton(np.asfortranarray(TWO), final_reward=[0, 1])


def test_reachable_states_stop_at_absorption():
    chain = RewardAutomaton([[1], [2], [3], [3], [0]], absorbing=[False, False, True, False, False])
    assert chain.reachable().tolist() == [True, True, True, False, False]
    assert chain.reachable(1).tolist() == [True, True, False, False, False]
    assert chain.reachable(0).tolist() == [True, False, False, False, False]


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transition": [0, 1]}, r"transition must have two axes .* \(2,\)"),
        ({"transition": [[0, 1], [0]]}, "transition must be a rectangular array"),
        ({"transition": np.zeros((0, 3), dtype=int)}, "transition has no states"),
        ({"transition": np.zeros((2, 0), dtype=int)}, "empty vocabulary"),
        ({"transition": [[0.0, 1.0]]}, "transition must hold integers, got dtype float64"),
        ({"transition": [[0, 1, 2], [0, 0, 0]]}, r"transition\[0, 2\] is 2; allowed are the states 0 to 1"),
        ({"transition": [[0, -1, 0], [0, 0, 0]]}, r"transition\[0, 1\] is -1"),
        ({"reward": np.zeros((3, 2))}, r"reward must have shape \(2, 3\), got \(3, 2\)"),
        ({"reward": [[0, 0, 0], [0, NAN, 0]]}, r"reward\[1, 1\] is nan; allowed are finite numbers"),
        ({"final_reward": [0, INFINITY]}, r"final_reward\[1\] is inf; allowed are finite numbers"),
        ({"final_reward": [0, 1, 2]}, r"final_reward must have shape \(2,\)"),
        ({"final_reward": ["a", "b"]}, "final_reward must hold numbers"),
        ({"horizon_reward": [NAN, 0]}, r"horizon_reward\[0\] is nan"),
        ({"start": 2}, "start must be a state, 0 to 1, or probabilities; got 2"),
        ({"start": -1}, "start must be a state"),
        ({"start": 0.5}, "start must be a state"),
        ({"start": [0.5, 0.4]}, r"start sums to .*0\.9.*; it must sum to 1 within 1e-09"),
        ({"start": [1.5, -0.5]}, "start has the probability -0.5; allowed are 0 to 1"),
        ({"start": [1.0]}, r"start must have shape \(2,\)"),
        ({"start": 1, "absorbing": [False, True]}, "start puts probability on state 1, which is absorbing"),
        ({"absorbing": [0, 1]}, "absorbing must be an array of bool"),
        ({"absorbing": [True]}, r"absorbing must have shape \(2,\)"),
        ({"execution": np.eye(2)}, r"execution must have shape \(3, 3\)"),
        ({"execution": np.eye(3) * 0.9}, r"execution\[0\] sums to .*0\.9"),
        ({"execution": np.full((3, 3), NAN)}, r"execution\[0, 0\] is nan"),
    ],
)
def test_errors_name_the_argument_the_value_and_the_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        RewardAutomaton(**{"transition": TWO, **arguments})


def test_trimming_keeps_what_texts_reach_and_pays_the_same():
    rng = np.random.default_rng(0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        whole = RewardAutomaton(
            rng.integers(6, size=(6, 2)),
            rng.normal(size=(6, 2)),
            rng.normal(size=6),
            absorbing=np.arange(6) == 4,
        )
        small = whole.trimmed()
        assert small.states == whole.reachable().sum()
        assert small.reachable().all()
        assert small.trimmed() is small
        values = [
            klrl_envs.optimum(
                klrl_envs.exact_task(klrl_envs.UniformReference(2), small, horizon=4, kl_coef=1.0)
            ).value,
            solve(klrl_envs.UniformReference(2), whole, horizon=4, end_token=None, kl_coef=1.0).value,
        ]
        assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_an_exact_task_refuses_states_that_no_text_reaches():
    lonely = RewardAutomaton([[0, 0], [1, 0]])
    with pytest.raises(ValueError, match="no text reaches 1 of the automaton's 2 states, state 1 the first"):
        klrl_envs.exact_task(klrl_envs.UniformReference(2), lonely, horizon=2, kl_coef=1.0)


def test_a_context_reward_fits_its_reference_and_needs_sure_execution():
    with pytest.raises(ValueError, match="context_reward has 2 contexts, the reference 1"):
        solve(
            klrl_envs.UniformReference(2),
            RewardAutomaton([[0, 0]], context_reward=np.zeros((2, 2))),
            horizon=2, end_token=None, kl_coef=1.0,
        )  # fmt: skip
    with pytest.raises(ValueError, match="leave out execution"):
        RewardAutomaton([[0, 0]], context_reward=np.zeros((1, 2)), execution=np.eye(2))
    with pytest.raises(ValueError, match=r"context_reward\[0, 1\] is nan"):
        RewardAutomaton([[0, 0]], context_reward=[[0.0, np.nan]])
