"""The soft dynamic programme: J*, pi* and log Z of a Markov reference times a reward automaton.

A state is (context of the reference, state of the automaton, tokens written). With beta = kl_coef and
X_t[a, q] the expected reward to go when token a is chosen in q at time t, one backward step is

    V_t[c, q] = beta log sum_a pi0(a|c) exp(X_t[a, q] / beta)
    pi*(a | c, q, t) = pi0(a|c) exp((X_t[a, q] - V_t[c, q]) / beta)

(soft Bellman equation; Todorov 2006, Levine 2018, arXiv 1805.00909, section 2). X does not depend on
the context in which a is chosen, so the step is a matrix product of pi0 [C, V] by exp(X/beta) [V, Q],
each column shifted by its maximum, over the states that some text reaches then. (A trigram has more
arcs than tokens, and sparse factors in place of the one matrix; a reward of context and token tilts pi0.)
Where execution is stochastic, or the environment replies, X is an expectation over what is executed or
replied, inside the soft maximum: no agent can choose its luck. Everything is float64, in reward units and
nats; nothing is discounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.result import FrontierPoint
from klrl_envs.optima.terminal_law import has_law, terminal_law
from klrl_envs.optima.tilted import BLOCK, Tilted
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.replies import Replies

MOST_NUMBERS = 3 << 27
"""Numbers that a solution may hold: 3 GiB."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of a problem at one kl_coef: its value and its policy.

    Attributes:
        problem: what was solved.
        kl_coef: beta, above 0.
        tables: for each time t float64[C, Q_t], V_t of the states `Problem.reached` then.
    """

    problem: Problem
    kl_coef: float
    tables: tuple[FloatArray, ...]

    @property
    def start_values(self) -> FloatArray:
        """float64[N], V_0 of each of the problem's `starts`: the optimum of each prompt."""
        return self.problem.at_starts(self.tables[0])

    @cached_property
    def value(self) -> float:
        """J*, the mean of V_0 over the starts."""
        return self.problem.at_start(self.tables[0])

    @property
    def reference_value(self) -> float:
        """J(pi0), the expected reward of the reference."""
        return self.problem.reference_value

    @cached_property
    def expected_reward(self) -> float:
        """E*[r], by a backward pass under pi*."""
        tilted = Tilted(self.problem, self.kl_coef)
        values: FloatArray | None = None
        for time in reversed(range(self.problem.horizon)):
            soft = self.problem.to_go(self._next_table(time), time)
            values = tilted.mean(self.problem.to_go(values, time), soft)
        assert values is not None
        return self.problem.at_start(values)

    @property
    def kl(self) -> float:
        """KL(pi* || pi0), nats; of a stochastic automaton the sum of the policy's conditional KLs."""
        return max((self.expected_reward - self.value) / self.kl_coef, 0.0)

    @property
    def point(self) -> FrontierPoint:
        """This optimum as a point of the frontier."""
        return FrontierPoint(self.kl_coef, self.expected_reward, self.kl, self.value)

    def frontier(self, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
        """The exact frontier of the problem at each of kl_coefs.

        Where the reward is terminal one forward pass serves them all; else each is solved.

        Raises:
            ValueError: a kl_coef that is not a finite number above 0.
        """
        wanted = [check_kl_coef(kl_coef) for kl_coef in kl_coefs]
        if has_law(self.problem):
            law = terminal_law(self.problem)
            reached = [(kl_coef, *law.optimum(kl_coef)) for kl_coef in wanted]
            return [FrontierPoint(kl_coef, reward, kl, value) for kl_coef, value, reward, kl in reached]
        return [solve_problem(self.problem, kl_coef).point for kl_coef in wanted]

    def values(self, context: ArrayLike, state: ArrayLike, time: ArrayLike) -> FloatArray:
        """V_t, the optimal objective still to come.

        Args:
            context: int64[N], of the reference.
            state: int64[N], of the automaton.
            time: int64[N], tokens already written, 0 to T.

        Returns:
            float64[N]; 0 where the episode is over (absorbing state or time T), as all is paid by then.

        Raises:
            ValueError: an index out of range, or a state that no text reaches at that time.
        """
        context, state, time = self._indices(context, state, time, self.problem.horizon)
        result = np.zeros(state.size)
        over = self.problem.automaton.absorbing[state] | (time == self.problem.horizon)
        for when, lanes in _by_time(time, ~over):
            place = self._place(state[lanes], when)
            result[lanes] = self.tables[when][context[lanes], place]
        return result

    def log_probs(self, context: ArrayLike, state: ArrayLike, time: ArrayLike) -> FloatArray:
        """Rows log pi*(. | context, state, time) of states in which the episode goes on.

        Args:
            context: int64[N], of the reference.
            state: int64[N], of the automaton.
            time: int64[N], tokens already written, 0 to T - 1.

        Returns:
            float64[N, V], nats, normalised.

        Raises:
            ValueError: an index out of range, or a state that no text reaches at that time.
        """
        context, state, time = self._indices(context, state, time, self.problem.horizon - 1)
        rows = self._tilted.rows(context)
        for when, lanes in _by_time(time, np.ones(time.size, dtype=bool)):
            self._place(state[lanes], when)
            rows[lanes] += self._to_go_rows(context[lanes], state[lanes], when) / self.kl_coef
        rows -= rows.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return rows

    def push(self, mass: FloatArray, time: int) -> FloatArray:
        """The mass that pi* puts on each arc, float64[K, Q_t], of mass float64[C, Q_t] at a time."""
        to_go = self.problem.to_go(self._next_table(time), time)
        return self._tilted.push(mass, to_go, self.tables[time])

    @cached_property
    def _tilted(self) -> Tilted:
        return Tilted(self.problem, self.kl_coef)

    def _next_table(self, time: int) -> FloatArray | None:
        return self.tables[time + 1] if time + 1 < self.problem.horizon else None

    def _place(self, state: IntArray, time: int) -> IntArray:
        """Where states stand in the table of a time."""
        place = self.problem.places[time][state]
        if place.size and place.min() < 0:
            raise ValueError(f"state {state[place < 0][0]} is not reached after {time} tokens by any text")
        return place

    def _indices(
        self, context: ArrayLike, state: ArrayLike, time: ArrayLike, last: int
    ) -> tuple[IntArray, IntArray, IntArray]:
        limits = {
            "context": (context, self.problem.reference.contexts - 1),
            "state": (state, self.problem.automaton.states - 1),
            "time": (time, last),
        }
        checked: list[IntArray] = []
        for name, (value, limit) in limits.items():
            array = np.atleast_1d(np.asarray(value, dtype=np.int64))
            if array.size and (array.min() < 0 or array.max() > limit):
                seen = array.min() if array.min() < 0 else array.max()
                raise ValueError(f"{name} must be 0 to {limit}, got {seen}")
            checked.append(array)
        return checked[0], checked[1], checked[2]

    def _to_go_rows(self, context: IntArray, state: IntArray, time: int) -> FloatArray:
        """float64[N, V], of `Problem.to_go` each lane's own state, and the arcs of its context."""
        problem, automaton = self.problem, self.problem.automaton
        tokens, execution = automaton.vocab_size, automaton.execution
        after = automaton.transition[state]
        following = problem.reference.arc_contexts[problem.reference.arcs(context)]
        if execution is None:
            return self._worth(state, time, after, following, np.arange(tokens))
        rows = np.empty((state.size, tokens))
        block = max(1, BLOCK // (state.size * tokens + 1))
        for first in range(0, tokens, block):
            chosen = np.arange(first, min(first + block, tokens))
            worth = self._worth(
                state[:, None], time, after[:, None, :], following[:, chosen, None], chosen[:, None]
            )
            rows[:, chosen] = np.einsum("nab,ab->na", worth, execution[chosen])
        return rows

    def _worth(
        self, state: IntArray, time: int, after: IntArray, following: IntArray, chosen: IntArray
    ) -> FloatArray:
        """Reward of a step and what follows, the executed token on the last axis."""
        automaton = self.problem.automaton
        if time == self.problem.horizon - 1 or not self.problem.reached[time + 1].size:
            later = automaton.horizon_reward[after]
        else:
            later = self.tables[time + 1][following, self.problem.places[time + 1][after]]
        ends = automaton.absorbing[after]
        if self.problem.end_token is not None:
            ends = ends | (chosen == self.problem.end_token)
        worth = np.where(ends, automaton.final_reward[after], later)
        if self.problem.replies is not None:
            worth = self._told(self.problem.replies, time, after, ends, worth)
        return automaton.reward[state] + worth

    def _told(
        self, replies: Replies, time: int, after: IntArray, ends: BoolArray, worth: FloatArray
    ) -> FloatArray:
        """``worth``, with what is expected of the reply where ``after`` speaks."""
        following = self._next_table(time)
        worth = np.where(
            replies.speaks[after], self.problem.reply_worth(replies, following, time)[after], worth
        )
        if self.problem.end_token is None:
            return worth
        last_word = self.problem.reply_worth(replies, following, time, ended=True)[after]
        return np.where(replies.speaks[after] & ends, last_word, worth)


def _by_time(time: IntArray, chosen: BoolArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each time among those chosen [N], and the places that have it."""
    for when in np.unique(time[chosen]).tolist():
        yield when, np.flatnonzero(chosen & (time == when))


def solve(
    reference: MarkovModel,
    automaton: RewardAutomaton,
    *,
    horizon: int,
    end_token: int | None,
    kl_coef: float,
) -> Solution:
    """Solve for the optimum of J(pi) = E_pi[r] - kl_coef KL(pi || pi0).

    Args:
        reference: pi0, with C contexts.
        automaton: the reward, with Q states.
        horizon: T, the most tokens of an episode.
        end_token: the token whose choice ends an episode, or None.
        kl_coef: beta, in units of reward per nat.

    Returns:
        A `Solution`; it holds C float64 numbers for each time and state that is reached then.

    Raises:
        ValueError: an argument out of range; the message names it, the value and what is allowed.
    """
    return solve_problem(Problem(reference, automaton, horizon, end_token), kl_coef)


def solve_problem(problem: Problem, kl_coef: float) -> Solution:
    """As `solve`; several coefficients of one `Problem` share what does not depend on them."""
    kl_coef = check_kl_coef(kl_coef)
    numbers = problem.reference.contexts * sum(states.size for states in problem.reached)
    if numbers > MOST_NUMBERS:
        raise ValueError(
            f"the optimum needs {numbers / 2**27:.1f} GiB, allowed are {MOST_NUMBERS / 2**27:.1f}: "
            f"{problem.reference.contexts:,} contexts of the reference {problem.reference.name!r}, "
            f"{problem.automaton.states:,} states of the automaton, {problem.horizon} steps; "
            "take a bigram, a shorter horizon or fewer states"
        )
    tilted = Tilted(problem, kl_coef)
    tables: list[FloatArray] = []
    values: FloatArray | None = None
    for time in reversed(range(problem.horizon)):
        values = tilted.soft_maximum(problem.to_go(values, time))
        values.setflags(write=False)
        tables.append(values)
    return Solution(problem, kl_coef, tuple(reversed(tables)))
