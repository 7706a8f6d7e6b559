"""Forward passes over the states of an exact task: what a policy, or the reference, does in all.

`evaluate_markov` gives the objective of any policy that is Markov in (context, state, time) without
sampling; `terminal_law` the distribution of a reward paid at the end under the reference, from which
J* and the whole frontier follow for every kl_coef at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from klrl_envs.kl import check_kl_coef, kl_divergence
from klrl_envs.optima.dynamic_programme import (
    BLOCK,
    FloatArray,
    IntArray,
    Problem,
    solve_problem,
)
from klrl_envs.optima.result import FrontierPoint
from klrl_envs.tasks.automaton import RewardAutomaton

PolicyRows = Callable[[IntArray, IntArray, IntArray], NDArray[np.floating]]
"""(context int64[N], state int64[N], time int64[N]) -> log-prob rows float[N, V]."""


@dataclass(frozen=True)
class MarkovEvaluation:
    """A policy's exact objective, expected reward and KL(pi || pi0) in nats."""

    objective: float
    expected_reward: float
    kl: float


def evaluate_markov(problem: Problem, policy_rows: PolicyRows, *, kl_coef: float) -> MarkovEvaluation:
    """Evaluate a policy that is Markov in (context, state, time): exactly, by a forward pass.

    Args:
        problem: reference, reward and end of an episode.
        policy_rows: (context int64[N], state int64[N], time int64[N]) -> float[N, V], log pi, normalised;
            asked only for states that the policy reaches.
        kl_coef: beta, at least 0 here.

    Returns:
        A `MarkovEvaluation`; its KL is the sum of the expected conditional KLs at the states visited.

    Raises:
        ValueError: an argument out of range, or rows that are not distributions.
    """
    if not (np.isfinite(kl_coef) and kl_coef >= 0):
        raise ValueError(f"kl_coef must be a finite number of at least 0, got {kl_coef!r}")
    reference, automaton, states = problem.reference, problem.automaton, problem.automaton.states
    mass = np.zeros((reference.contexts, states))
    context, state, chance = problem.starts
    np.add.at(mass, (context, state), chance)
    reward = kl = 0.0
    for time in range(problem.horizon):
        visited = np.flatnonzero(mass)
        later = np.zeros(mass.size)
        block = max(1, BLOCK // automaton.vocab_size)
        for first in range(0, visited.size, block):
            part = visited[first : first + block]
            context, state = part // states, part % states
            rows = _checked_rows(policy_rows(context, state, np.full_like(part, time)), part.size, automaton)
            weight = np.ravel(mass)[part]
            kl += float(weight @ kl_divergence(rows, reference.rows(context)))
            joint = weight[:, None] * np.exp(rows)
            reward += _advance(problem, time, context, state, joint, later)
        mass = np.reshape(later, mass.shape)
    return MarkovEvaluation(reward - kl_coef * kl, reward, kl)


def _checked_rows(rows: NDArray[np.floating], count: int, automaton: RewardAutomaton) -> FloatArray:
    result = np.asarray(rows, dtype=np.float64)
    if result.shape != (count, automaton.vocab_size):
        raise ValueError(
            f"policy_rows must return shape {(count, automaton.vocab_size)}, returned {result.shape}"
        )
    total = np.exp(result).sum(axis=1)
    wrong = ~(np.abs(total - 1.0) <= 1e-4)
    if wrong.any():
        raise ValueError(f"policy_rows must return normalised log-probs; a row sums to {total[wrong][0]:g}")
    return result


def _advance(
    problem: Problem, time: int, context: IntArray, state: IntArray, joint: FloatArray, later: FloatArray
) -> float:
    """Push probability joint [n, chosen token] one step on into later [C * Q]; return the reward paid."""
    automaton = problem.automaton
    tokens = np.arange(automaton.vocab_size)
    paid = 0.0
    if automaton.context_reward is not None:
        paid = float((joint * automaton.context_reward[context]).sum())
    ends = np.zeros(automaton.vocab_size, dtype=bool)
    if problem.end_token is not None:
        ends[problem.end_token] = True
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
    after = automaton.transition[state]
    for following, end, weight in pieces:
        final = automaton.absorbing[after] | end
        rest = automaton.horizon_reward[after] if time == problem.horizon - 1 else 0.0
        worth = automaton.reward[state] + np.where(final, automaton.final_reward[after], rest)
        paid += float((weight * worth).sum())
        target = following * automaton.states + after
        later += np.bincount(target[~final], weights=weight[~final], minlength=later.size)
    return paid


@dataclass(frozen=True, eq=False)
class TerminalLaw:
    """The law under pi0 of a reward that is paid at the end, for each first state of the automaton.

    With lambda = 1 / kl_coef and L(lambda) = log E_0 exp(lambda r): J* = kl_coef L, E*[r] = L' and
    KL* = lambda L' - L, each a mean over the first states.

    Attributes:
        start: float64[S], probabilities of the S possible first states.
        rewards: float64[U], the distinct rewards, ascending.
        probabilities: float64[S, U], rows that sum to one.
    """

    start: FloatArray
    rewards: FloatArray
    probabilities: FloatArray

    @property
    def reference_value(self) -> float:
        """J(pi0) = E_0[r]."""
        return float(self.start @ self.probabilities @ self.rewards)

    def optimum(self, kl_coef: float) -> tuple[float, float, float]:
        """(J*, E*[r], KL* in nats) at kl_coef.

        Raises:
            ValueError: kl_coef is not a finite number above 0.
        """
        kl_coef = check_kl_coef(kl_coef)
        scaled = self.rewards / kl_coef
        with np.errstate(divide="ignore"):
            joint = np.log(self.probabilities) + scaled
        top = joint.max(axis=1)
        weights = np.exp(joint - top[:, None])
        total = weights.sum(axis=1)
        value = float(self.start @ (kl_coef * (top + np.log(total))))
        reward = float(self.start @ ((weights @ self.rewards) / total))
        return value, reward, max((reward - value) / kl_coef, 0.0)


def terminal_law(problem: Problem) -> TerminalLaw:
    """The law of the terminal reward under pi0, by one forward pass that is free of kl_coef.

    The cost of a step is that of a backward step times the number of first states.

    Raises:
        ValueError: the automaton pays before the end, or its execution is stochastic (then the optimum
            is not the tilted reference, and the law does not determine it).
    """
    automaton = problem.automaton
    if not automaton.terminal or not automaton.deterministic:
        kind = "stochastic execution" if automaton.terminal else "rewards before the end"
        raise ValueError(f"the law of the final reward needs an automaton without {kind}")
    if problem.prompts is not None:
        raise ValueError("the law of the final reward is of one start context: solve tasks with prompts")
    reference = problem.reference
    first = np.flatnonzero(automaton.start)
    states, tokens = automaton.states, reference.arc_tokens
    mass: FloatArray = np.zeros((reference.contexts, first.size, states))
    mass[reference.start_context, np.arange(first.size), first] = 1.0
    after = np.transpose(automaton.transition)[tokens][:, None, :]
    row = np.arange(first.size)[None, :, None]
    ends = automaton.absorbing[after]
    if problem.end_token is not None:
        ends = ends | (tokens == problem.end_token)[:, None, None]
    shape = (tokens.size, first.size, states)
    ends = np.broadcast_to(ends, shape)
    into_end = np.broadcast_to(row * states + after, shape)
    into_next = (reference.arc_contexts[:, None, None] * first.size + row) * states + after
    ended = np.zeros(first.size * states)
    for _ in range(problem.horizon):
        joint = np.reshape(reference.push(np.reshape(mass, (reference.contexts, -1))), shape)
        ended += np.bincount(into_end[ends], weights=joint[ends], minlength=ended.size)
        going_on = np.bincount(into_next[~ends], weights=joint[~ends], minlength=mass.size)
        mass = np.reshape(going_on.astype(np.float64, copy=False), mass.shape)
    paid = np.concatenate([automaton.final_reward, automaton.horizon_reward])
    chance = np.concatenate([np.reshape(ended, (first.size, states)), mass.sum(axis=0)], axis=1)
    held = chance.any(axis=0)
    rewards, place = np.unique(paid[held], return_inverse=True)
    probabilities = np.zeros((first.size, rewards.size))
    for column, level in enumerate(np.flatnonzero(held)):
        probabilities[:, place[column]] += chance[:, level]
    return TerminalLaw(automaton.start[first], rewards, probabilities)


def exact_frontier(problem: Problem, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
    """The exact frontier at each of kl_coefs.

    Where the reward is terminal one forward pass serves them all; else each is solved.

    Raises:
        ValueError: a kl_coef that is not a finite number above 0.
    """
    wanted = [check_kl_coef(kl_coef) for kl_coef in kl_coefs]
    automaton = problem.automaton
    points: list[FrontierPoint] = []
    law = None
    if (
        automaton.terminal
        and automaton.deterministic
        and problem.prompts is None
        and problem.starts[0].size == 1
    ):
        law = terminal_law(problem)
    for kl_coef in wanted:
        if law is not None:
            value, reward, kl = law.optimum(kl_coef)
        else:
            solution = solve_problem(problem, kl_coef)
            value, reward, kl = solution.value, solution.expected_reward, solution.kl
        points.append(FrontierPoint(kl_coef, reward, kl, value))
    return points
