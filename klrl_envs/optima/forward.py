"""Forward passes over the states of an exact task: what a policy, or the reference, does in all.

`evaluate_markov` gives the objective of any policy that is Markov in (context, state, time) without
sampling; `terminal_law` the distribution of a reward paid at the end under the reference, from which
J* and the whole frontier follow for every kl_coef at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from klrl_envs.kl import check_kl_coef, kl_divergence
from klrl_envs.optima.dynamic_programme import BLOCK, Problem, Solution, solve_problem
from klrl_envs.optima.result import FrontierPoint
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reward.automaton import RewardAutomaton

PolicyRows = Callable[[IntArray, IntArray, IntArray], NDArray[np.floating]]
"""(context int64[N], state int64[N], time int64[N]) -> log-prob rows float[N, V]."""


@dataclass(frozen=True, eq=False)
class MarkovEvaluation:
    """What a policy does, exactly.

    Attributes:
        objective: expected_reward - kl_coef kl.
        expected_reward: E[r].
        kl: KL(pi || pi0), nats, an episode.
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
            (what a row lacks to one, within 1e-3 nats, is divided out); asked only for states that the
            policy reaches.
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
            rows = checked_rows(policy_rows(context, state, when), part.size, automaton)
            weight = np.ravel(mass)[part]
            joint = weight[:, None] * np.exp(rows)
            kl += float(weight @ kl_divergence(rows, reference.rows(context)))
            entropy -= float((joint * np.where(joint > 0, rows, 0.0)).sum())
            for place, other in enumerate(others):
                beside = checked_rows(other(context, state, when), part.size, automaton)
                divergences[place] += float(weight @ kl_divergence(rows, beside))
            reward += _advance(problem, time, context, state, joint, later, final)
        mass = np.reshape(later, mass.shape)
    return MarkovEvaluation(reward - kl_coef * kl, reward, kl, entropy, tuple(divergences), final)


def checked_rows(rows: NDArray[np.floating], count: int, automaton: RewardAutomaton) -> FloatArray:
    """Rows float64[count, V] in nats, normalised.

    Raises:
        ValueError: another shape, or rows that do not sum to one within 1e-3 nats.
    """
    result = np.asarray(rows, dtype=np.float64)
    if result.shape != (count, automaton.vocab_size):
        raise ValueError(
            f"policy_rows must return shape {(count, automaton.vocab_size)}, returned {result.shape}"
        )
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(result).sum(axis=1))
    wrong = ~(np.abs(total) <= 1e-3)
    if wrong.any():
        seen = np.exp(total[wrong][0])
        raise ValueError(f"policy_rows must return normalised log-probs; a row sums to {seen:g}")
    return result - total[:, None]


def _advance(
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
        rest = automaton.horizon_reward[after] if last else 0.0
        worth = automaton.reward[state] + np.where(final, automaton.final_reward[after], rest)
        paid += float((weight * worth).sum())
        over = np.ones_like(final) if last else final
        final_states += np.bincount(after[over], weights=weight[over], minlength=automaton.states)
        target = following * automaton.states + after
        later += np.bincount(target[~over], weights=weight[~over], minlength=later.size)
    return paid


@dataclass(frozen=True, eq=False)
class TerminalLaw:
    """The law under pi0 of a reward that is paid at the end, for each start (first state, or prompt).

    With lambda = 1 / kl_coef and L(lambda) = log E_0 exp(lambda r): J* = kl_coef L, E*[r] = L' and
    KL* = lambda L' - L, each a mean over the starts.

    Attributes:
        start: float64[S], probabilities of the S starts.
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


@lru_cache(maxsize=4)
def terminal_law(problem: Problem) -> TerminalLaw:
    """The law of the terminal reward under pi0, by one forward pass that is free of kl_coef.

    The cost of a step is that of a backward step times the number of starts (first states, or prompts).

    Raises:
        ValueError: the automaton pays before the end, or its execution is stochastic (then the optimum
            is not the tilted reference, and the law does not determine it).
    """
    automaton = problem.automaton
    if not automaton.terminal or not automaton.deterministic:
        kind = "stochastic execution" if automaton.terminal else "rewards before the end"
        raise ValueError(f"the law of the final reward needs an automaton without {kind}")
    reference, states = problem.reference, automaton.states
    context, state, start = problem.starts
    row_of = np.arange(start.size)
    ended = np.zeros((start.size, states))
    mass = np.zeros((reference.contexts, start.size, problem.reached[0].size))
    mass[context, row_of, problem.places[0][state]] = 1.0
    for time in range(problem.horizon):
        joint = reference.push(np.reshape(mass, (reference.contexts, -1)))
        joint = np.reshape(joint, (len(joint), *mass.shape[1:]))
        settled = [_settle(problem, time, joint[:, row]) for row in row_of.tolist()]
        ended += np.stack([over for over, _ in settled])
        mass = np.stack([going_on for _, going_on in settled], axis=1)
    paid = np.concatenate([automaton.final_reward, automaton.horizon_reward])
    chance = np.concatenate([ended, mass.sum(axis=0)], axis=1)
    held = chance.any(axis=0)
    rewards, place = np.unique(paid[held], return_inverse=True)
    probabilities = np.zeros((start.size, rewards.size))
    for column, level in enumerate(np.flatnonzero(held)):
        probabilities[:, place[column]] += chance[:, level]
    return TerminalLaw(start, rewards, probabilities)


def _settle(problem: Problem, time: int, joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What ends and what goes on of the mass on arcs float64[K, Q_t], which is used up.

    Returns:
        float64[Q], ended before the horizon's own end, by state; float64[C, Q_(t+1)], what goes on, of all
        states after the last step.
    """
    contexts, states = problem.reference.contexts, problem.automaton.states
    after, ends = problem.arrivals(time)
    last = time == problem.horizon - 1
    place = np.arange(states) if last else np.maximum(problem.places[time + 1], 0)
    width = states if last else problem.reached[time + 1].size
    ended = np.bincount(after[ends], weights=joint[ends], minlength=states).astype(np.float64, copy=False)
    if width == 0:  # every text has ended
        return ended, np.zeros((contexts, 0))
    joint[ends] = 0.0
    into = problem.reference.arc_contexts[:, None] * width + place[after]
    going_on = np.bincount(into.ravel(), weights=np.ravel(joint), minlength=contexts * width)
    return ended, np.reshape(going_on.astype(np.float64, copy=False), (contexts, width))


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
        ended, mass = _settle(problem, time, joint)
        total += ended
    return total + mass.sum(axis=0)


def has_law(problem: Problem) -> bool:
    """Whether one forward pass from one start gives the law of the reward, which determines the optimum."""
    automaton = problem.automaton
    single = problem.prompts is None and problem.starts[0].size == 1
    return automaton.terminal and automaton.deterministic and single


def exact_frontier(problem: Problem, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
    """The exact frontier at each of kl_coefs.

    Where the reward is terminal one forward pass serves them all; else each is solved.

    Raises:
        ValueError: a kl_coef that is not a finite number above 0.
    """
    wanted = [check_kl_coef(kl_coef) for kl_coef in kl_coefs]
    points: list[FrontierPoint] = []
    law = terminal_law(problem) if has_law(problem) else None
    for kl_coef in wanted:
        if law is not None:
            value, reward, kl = law.optimum(kl_coef)
        else:
            solution = solve_problem(problem, kl_coef)
            value, reward, kl = solution.value, solution.expected_reward, solution.kl
        points.append(FrontierPoint(kl_coef, reward, kl, value))
    return points
