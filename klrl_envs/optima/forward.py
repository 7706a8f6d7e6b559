"""Forward passes over the states of an exact task: what a policy does in all, without sampling.

`evaluate_markov` values any policy that is Markov in (context, state, time); `final_states` is the faster way
to the states in which pi*, or the reference, ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from klrl_envs.kl import kl_divergence
from klrl_envs.optima.dynamic_programme import Solution
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.tilted import BLOCK
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.rows import TokenRows, as_array
from klrl_envs.reward.replies import Replies

PolicyRows = Callable[[IntArray, IntArray, IntArray], Any]
"""(context int64[N], state int64[N], time int64[N]) -> log-prob rows float[N, V]."""


@dataclass(frozen=True, eq=False)
class MarkovEvaluation:
    """What a policy does, exactly.

    Attributes:
        objective: expected_reward - kl_coef kl.
        expected_reward: E[r].
        kl: KL(pi || pi0), nats per episode.
        entropy: of the law of the texts, nats.
        divergences: KL(pi || other), nats, of each of the others; infinite where one lacks support.
        final_states: float64[Q], the law of the automaton's state at the end.
    """

    objective: float
    expected_reward: float
    kl: float
    entropy: float
    divergences: tuple[float, ...]
    final_states: FloatArray


def evaluate_markov(
    problem: Problem, policy_rows: PolicyRows, *, kl_coef: float, others: Sequence[PolicyRows] = ()
) -> MarkovEvaluation:
    """Evaluate a policy that is Markov in (context, state, time): exactly, by a forward pass.

    Args:
        problem: reference, reward and end of an episode.
        policy_rows: (context int64[N], state int64[N], time int64[N]) -> float[N, V], log pi, normalised
            (see `TokenRows`); asked only for states that the policy reaches.
        kl_coef: beta, at least 0 here.
        others: policies of the same form, to compare with.

    Returns:
        A `MarkovEvaluation`; a divergence is the sum of the expected conditional ones at the states visited.

    Raises:
        ValueError: an argument out of range, or rows that are not distributions.
    """
    if not (np.isfinite(kl_coef) and kl_coef >= 0):
        raise ValueError(f"kl_coef must be a finite number of at least 0, got {kl_coef!r}")
    reference, automaton, states = problem.reference, problem.automaton, problem.automaton.states
    mass = np.zeros((reference.contexts, states))
    context, state, chance = problem.starts
    np.add.at(mass, (context, state), chance)
    final = np.zeros(states)
    reward = kl = entropy = 0.0
    divergences = [0.0] * len(others)
    block = max(1, BLOCK // automaton.vocab_size)
    for time in range(problem.horizon):
        visited = np.flatnonzero(mass)
        later = np.zeros(mass.size)
        for first in range(0, visited.size, block):
            part = visited[first : first + block]
            context, state = part // states, part % states
            when = np.full_like(part, time)
            rows = log_probs_of(policy_rows, context, state, when, automaton.vocab_size)
            weight = np.ravel(mass)[part]
            joint = weight[:, None] * np.exp(rows)
            kl += float(weight @ kl_divergence(rows, reference.rows(context)))
            entropy -= float((joint * np.where(joint > 0, rows, 0.0)).sum())
            for place, other in enumerate(others):
                beside = log_probs_of(other, context, state, when, automaton.vocab_size)
                divergences[place] += float(weight @ kl_divergence(rows, beside))
            reward += write_token(problem, time, context, state, joint, later, final)
        mass = np.reshape(later, mass.shape)
    return MarkovEvaluation(reward - kl_coef * kl, reward, kl, entropy, tuple(divergences), final)


def log_probs_of(
    policy_rows: PolicyRows, context: IntArray, state: IntArray, time: IntArray, vocab_size: int
) -> FloatArray:
    """The rows of a policy in float64[N, V], nats, checked and normalised; it is shown copies of states."""
    rows = as_array(policy_rows(context.copy(), state.copy(), time.copy())).astype(np.float64, copy=False)
    return (
        TokenRows(rows, (len(context), vocab_size), "policy_rows").normalised().astype(np.float64, copy=False)
    )


def write_token(
    problem: Problem,
    time: int,
    context: IntArray,
    state: IntArray,
    joint: FloatArray,
    later: FloatArray,
    final_states: FloatArray,
) -> float:
    """Push probability joint [n, chosen token] one step on.

    What goes on is added to later [C * Q], what ends to final_states [Q]; the reward paid is returned.
    """
    automaton = problem.automaton
    tokens = np.arange(automaton.vocab_size)
    last = time == problem.horizon - 1
    paid = 0.0
    if automaton.context_reward is not None:
        paid = float((joint * automaton.context_reward[context]).sum())
    ends = np.zeros(automaton.vocab_size, dtype=bool)
    if problem.end_token is not None:
        ends[problem.end_token] = True
    after = automaton.transition[state]
    if automaton.replies is not None:
        told = np.where(automaton.replies.speaks[after], joint, 0.0)
        paid += float((told * automaton.reward[state]).sum())
        paid += write_replies(problem, automaton.replies, time, after, told, later, final_states)
        joint = joint - told
    if automaton.execution is None:
        pieces = [(problem.reference.next_context(context[:, None], tokens), ends, joint)]
    else:  # choices that lead to one context and end alike are executed together
        pieces = [
            (np.full_like(tokens, after), np.full_like(ends, end), joint[:, chosen] @ execution)
            for after in np.unique(problem.reference.arc_contexts)
            for end in (False, True)
            for chosen in [np.flatnonzero((problem.reference.arc_contexts == after) & (ends == end))]
            for execution in [automaton.execution[chosen]]
            if chosen.size
        ]
    for following, end, weight in pieces:
        final = automaton.absorbing[after] | end
        rest = automaton.horizon_reward[after] if last else 0.0
        worth = automaton.reward[state] + np.where(final, automaton.final_reward[after], rest)
        paid += float((weight * worth).sum())
        over = np.ones_like(final) if last else final
        final_states += np.bincount(after[over], weights=weight[over], minlength=automaton.states)
        target = following * automaton.states + after
        later += np.bincount(target[~over], weights=weight[~over], minlength=later.size)
    return paid


def write_replies(
    problem: Problem,
    replies: Replies,
    time: int,
    after: IntArray,
    joint: FloatArray,
    later: FloatArray,
    final_states: FloatArray,
) -> float:
    """Push probability joint [n, token] on speaking states after [n, token] on, as ``write_token`` does.

    What the steps to those states paid is not counted here.
    """
    automaton, states = problem.automaton, problem.automaton.states
    by_state = [np.zeros(states), np.zeros(states)]
    for token in range(automaton.vocab_size):
        by_state[token == problem.end_token] += np.bincount(
            after[:, token], weights=joint[:, token], minlength=states
        )
    told = problem.told(replies, *by_state)
    paid = float(told.over @ automaton.final_reward[told.after])
    final_states += np.bincount(told.after, weights=told.over, minlength=states)
    if time == problem.horizon - 1:
        final_states += np.bincount(told.after, weights=told.going_on, minlength=states)
        return paid + float(told.going_on @ automaton.horizon_reward[told.after])
    target = problem.told_contexts * states + told.after
    later += np.bincount(target, weights=told.going_on, minlength=later.size)
    return paid


def final_states(problem: Problem, solution: Solution | None = None) -> FloatArray:
    """The law float64[Q] of the automaton's state at the end: of pi*, or of the reference where None.

    One forward pass; of pi* each step is the transpose of the backward one. Stochastic execution goes
    through `evaluate_markov`.
    """
    reference = problem.reference
    if problem.automaton.execution is not None:
        rows: PolicyRows = lambda context, state, time: reference.rows(context)  # noqa: E731
        return evaluate_markov(
            problem, rows if solution is None else solution.log_probs, kl_coef=0.0
        ).final_states
    context, state, chance = problem.starts
    total = np.zeros(problem.automaton.states)
    mass: FloatArray = np.zeros((reference.contexts, problem.reached[0].size))
    np.add.at(mass, (context, problem.places[0][state]), chance)
    for time in range(problem.horizon):
        joint = reference.push(mass) if solution is None else solution.push(mass, time)
        ended, mass = problem.advance(joint, time)
        total += ended
    return total + mass.sum(axis=0)
