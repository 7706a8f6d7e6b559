"""The soft dynamic programme: J*, pi* and log Z of a Markov reference times a reward automaton.

A state is (context of the reference, state of the automaton, tokens written). With beta = kl_coef and
X_t[a, q] the expected reward to go when token a is chosen in q at time t, one backward step is

    V_t[c, q] = beta log sum_a pi0(a|c) exp(X_t[a, q] / beta)
    pi*(a | c, q, t) = pi0(a|c) exp((X_t[a, q] - V_t[c, q]) / beta)

(soft Bellman equation; Todorov 2006, Levine 2018, arXiv 1805.00909, section 2). X does not depend on
the context in which a is chosen, so the step is a matrix product of pi0 [C, V] by exp(X/beta) [V, Q],
each column shifted by its maximum, over the states that some text reaches then. (A trigram has more
arcs than tokens, and sparse factors in place of the one matrix; a reward of context and token tilts pi0.)
Where execution is stochastic, X is an expectation over what is executed, inside the soft maximum: no agent
can choose its luck. Everything is float64, in reward units and nats; nothing is discounted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.tasks.automaton import RewardAutomaton

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TRUSTED_TOTAL = 1e-250
"""Totals of pi0 exp(X/beta) below this go through log-sum-exp. exp(X/beta), shifted to a column maximum of 1,
and pi0 lose what is below exp(-708); at this limit that is less than exp(-130) of what is kept."""

BLOCK = 1 << 22
"""Numbers in the largest temporary array of the slow paths."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A Markov reference, a reward automaton and how an episode ends: all but kl_coef.

    Attributes:
        reference: pi0, C contexts, V tokens and K arcs.
        automaton: Q states and the same V tokens.
        horizon: T, the most tokens that an episode writes.
        end_token: the token whose choice ends the episode, or None.
        prompts: (contexts int64[M], states int64[M]), where the reference and the automaton are after each
            prompt; None for the reference's start and the automaton's. The optimum is the prompts' mean.

    Raises:
        ValueError: horizon below 1, end_token or a prompt out of range, vocabularies of different sizes, or
            a context reward that does not fit the reference.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    horizon: int
    end_token: int | None
    prompts: tuple[IntArray, IntArray] | None = None

    def __post_init__(self) -> None:
        automaton, reference = self.automaton, self.reference
        if reference.vocab_size != automaton.vocab_size:
            raise ValueError(
                f"the automaton reads {automaton.vocab_size} tokens, "
                f"the reference writes {reference.vocab_size}; they must agree"
            )
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 token, got {self.horizon}")
        if self.end_token is not None and not 0 <= self.end_token < automaton.vocab_size:
            raise ValueError(
                f"end_token must be None or 0 to {automaton.vocab_size - 1}, got {self.end_token}"
            )
        extra = automaton.context_reward
        if extra is not None and extra.shape[0] != reference.contexts:
            raise ValueError(
                f"context_reward has {extra.shape[0]} contexts, the reference {reference.contexts}"
            )
        plain = reference.arc_tokens.size == reference.vocab_size
        if not plain and (extra is not None or automaton.execution is not None):
            raise ValueError("context_reward and execution need a bigram or the uniform reference")
        if self.prompts is not None and automaton.absorbing[self.prompts[1]].any():
            raise ValueError("a prompt must not lead to an absorbing state: nothing can follow")

    @cached_property
    def starts(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Contexts, states and probabilities, [N] each, at which an episode starts."""
        if self.prompts is not None:
            context, state = self.prompts
            return context, state, np.full(context.size, 1 / context.size)
        state = np.flatnonzero(self.automaton.start)
        return np.full_like(state, self.reference.start_context), state, self.automaton.start[state]

    @cached_property
    def reached(self) -> list[IntArray]:
        """For each time 0 to T - 1 the states, ascending, in which an episode can still go on."""
        automaton = self.automaton
        seen = np.zeros(automaton.states, dtype=bool)
        seen[self.starts[1]] = True
        transition = automaton.transition
        if self.end_token is not None and automaton.execution is None:
            transition = np.delete(transition, self.end_token, axis=1)
        result = [np.flatnonzero(seen)]
        for _ in range(self.horizon - 1):
            following = np.zeros(automaton.states, dtype=bool)
            following[transition[result[-1]].ravel()] = True
            result.append(np.flatnonzero(following & ~automaton.absorbing))
        return result

    @cached_property
    def places(self) -> list[IntArray]:
        """For each time int64[Q], where a state stands in `reached`; -1 where it does not."""
        result: list[IntArray] = []
        for states in self.reached:
            place = np.full(self.automaton.states, -1, dtype=np.int64)
            place[states] = np.arange(states.size)
            result.append(place)
        return result

    @cached_property
    def _after(self) -> IntArray:
        return np.ascontiguousarray(np.transpose(self.automaton.transition))

    @cached_property
    def _ends(self) -> BoolArray:
        """bool[V, Q], whether token a chosen and executed in q ends the episode."""
        ends = self.automaton.absorbing[self._after]
        if self.end_token is not None:
            ends[self.end_token] = True
        return ends

    @cached_property
    def _paid(self) -> FloatArray:
        """float64[V, Q], what the step itself pays, the final reward of an end included."""
        final = np.where(self._ends, self.automaton.final_reward[self._after], 0.0)
        return np.transpose(self.automaton.reward) + final

    def columns(self, table: NDArray[Any], time: int) -> NDArray[Any]:
        """Of a table [V, Q] the columns that are `reached` at a time, a row for each arc, [K, Q_t]."""
        states, tokens = self.reached[time], self.reference.arc_tokens
        if states.size and states[-1] - states[0] == states.size - 1:
            table = table[:, states[0] : states[-1] + 1]  # a view: neighbours are common
        else:
            table = table[:, states]
        return table if tokens.size == table.shape[0] else table[tokens]

    def arrivals(self, time: int) -> tuple[IntArray, BoolArray]:
        """Where each arc leads from the states `reached` at a time, and whether it ends there, [K, Q_t]."""
        return self.columns(self._after, time), self.columns(self._ends, time)

    def to_go(self, values: FloatArray | None, time: int) -> FloatArray:
        """Expected reward of a choice, this step and all that follows, but for the context reward.

        Args:
            values: float64[C, Q_(t+1)], the value after the step where the episode goes on, of the states
                `reached` then; None on the last step, where the horizon's reward takes its place.
            time: t, tokens written before the choice.

        Returns:
            float64[K, Q_t], arc chosen and state in which it was.
        """
        if self.automaton.execution is not None:
            return self._to_go_executed(values, time, self.automaton.execution)
        after, ends = self.arrivals(time)
        if values is None or not values.size:  # the last step, or nothing goes on beyond it
            going_on = self.automaton.horizon_reward[after]
        else:
            row = self.reference.arc_contexts * values.shape[1]
            # where nothing goes on the place is -1, and any value will do
            index = self.places[time + 1][after]
            index += row[:, None]
            going_on = np.empty(index.shape)
            np.take(np.ravel(values), index, out=going_on, mode="wrap")
        np.copyto(going_on, 0.0, where=ends)
        going_on += self.columns(self._paid, time)
        return going_on

    def _to_go_executed(self, values: FloatArray | None, time: int, execution: FloatArray) -> FloatArray:
        automaton, states = self.automaton, self.reached[time]
        contexts = self.reference.arc_contexts
        result = np.zeros((automaton.vocab_size, states.size))
        for executed in range(automaton.vocab_size):
            chosen = np.flatnonzero(execution[:, executed])
            after = automaton.transition[states, executed]
            if values is None or not values.size:
                going_on = np.broadcast_to(automaton.horizon_reward[after], (chosen.size, after.size))
            else:
                going_on = values[contexts[chosen][:, None], self.places[time + 1][after][None, :]]
            ends = np.broadcast_to(automaton.absorbing[after], going_on.shape)
            if self.end_token is not None:
                ends = ends | (chosen == self.end_token)[:, None]
            paid = automaton.reward[states, executed]
            worth = paid + np.where(ends, automaton.final_reward[after], going_on)
            result[chosen] += execution[chosen, executed][:, None] * worth
        return result

    def at_starts(self, values: FloatArray) -> FloatArray:
        """Values float64[N] of the starts, of values float64[C, Q_0]."""
        context, state, _ = self.starts
        return values[context, self.places[0][state]]

    def at_start(self, values: FloatArray) -> float:
        """Mean over the starts of values float64[C, Q_0]."""
        return float(self.starts[2] @ self.at_starts(values))

    @cached_property
    def reference_values(self) -> FloatArray:
        """float64[N], E_0[r] of each of the `starts`, by a linear backward pass, free of kl_coef."""
        values: FloatArray | None = None
        own = 0.0
        if self.automaton.context_reward is not None:
            rows = self.reference.rows(np.arange(self.reference.contexts))
            own = (np.exp(rows) * self.automaton.context_reward).sum(axis=1, keepdims=True)
        for time in reversed(range(self.horizon)):
            values = self.reference.mean(self.to_go(values, time)) + own
        assert values is not None
        return self.at_starts(values)

    @property
    def reference_value(self) -> float:
        """J(pi0) = E_0[r]."""
        return float(self.starts[2] @ self.reference_values)


class Tilted:
    """pi0(a|c) exp(r(c, a) / beta) of a problem at one kl_coef: the reference, with the context reward in it.

    Args:
        problem: its reference and context reward.
        kl_coef: beta.
    """

    def __init__(self, problem: Problem, kl_coef: float) -> None:
        self.problem, self.kl_coef = problem, kl_coef
        self._shift = 0.0
        self._weights: FloatArray | None = None
        if problem.automaton.context_reward is not None:
            exponent = self.rows(np.arange(problem.reference.contexts))
            self._shift = exponent.max(axis=1, keepdims=True)
            self._weights = np.exp(exponent - self._shift)

    def rows(self, contexts: IntArray) -> FloatArray:
        """log pi0(a|c) + r(c, a) / beta, float64[N, V], of contexts [N]."""
        rows = self.problem.reference.rows(contexts)
        extra = self.problem.automaton.context_reward
        return rows if extra is None else rows + extra[contexts] / self.kl_coef

    def _mean(self, values: FloatArray) -> FloatArray:
        return self.problem.reference.mean(values) if self._weights is None else self._weights @ values

    def soft_maximum(self, to_go: FloatArray) -> FloatArray:
        """beta log sum_a pi0(a|c) exp((r(c, a) + to_go[a, q]) / beta), float64[C, Q] of float64[K, Q]."""
        top = to_go.max(axis=0)
        tilt = to_go - top
        tilt /= self.kl_coef
        # log1p and expm1 keep a large kl_coef from cancelling; the plain form is for wide columns
        narrow = (tilt.min(axis=0) > -1.0) & (self._weights is None)
        if narrow.all():
            return top + self.kl_coef * np.log1p(self._mean(np.expm1(tilt, out=tilt)))
        several = narrow.any()
        small = np.expm1(tilt[:, narrow]) if several else None
        np.exp(tilt, out=tilt)
        if several:
            tilt[:, narrow] = small
        total = self._mean(tilt)
        lost = _lost(total[:, ~narrow] if several else total)
        if several:
            total[:, narrow] = np.log1p(total[:, narrow])
        with np.errstate(divide="ignore"):
            if several:
                total[:, ~narrow] = np.log(total[:, ~narrow])
            else:
                np.log(total, out=total)
        total += self._shift
        total *= self.kl_coef
        total += top
        for contexts, weights, shift in self._exactly(lost, to_go):
            total[contexts] = self.kl_coef * (np.log(weights.sum(axis=1)) + shift)
        return total

    def mean(self, quantity: FloatArray, to_go: FloatArray) -> FloatArray:
        """Mean of r(c, a) + quantity float64[K, Q] under pi* for to_go float64[K, Q], float64[C, Q]."""
        tilt = np.exp((to_go - to_go.max(axis=0)) / self.kl_coef)
        total = self._mean(tilt)
        lost = _lost(total)
        above = self._mean(tilt * quantity)
        extra = self.problem.automaton.context_reward
        if extra is not None and self._weights is not None:
            above += (self._weights * extra) @ tilt
        with np.errstate(invalid="ignore", divide="ignore"):
            result = above / total
        for contexts, weights, _ in self._exactly(lost, to_go):
            values = quantity[self.problem.reference.arcs(contexts)]
            if extra is not None:
                values = values + extra[contexts][:, :, None]
            result[contexts] = (weights * values).sum(axis=1) / weights.sum(axis=1)
        return result

    def _exactly(
        self, lost: IntArray, to_go: FloatArray
    ) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
        """Yield (contexts [k], weights [k, V, Q], shift [k, Q]): weights exp(shift) is the tilted pi0."""
        block = max(1, BLOCK // (self.problem.automaton.vocab_size * to_go.shape[1] + 1))
        for first in range(0, lost.size, block):
            contexts = lost[first : first + block]
            arcs = self.problem.reference.arcs(contexts)
            exponent = self.rows(contexts)[:, :, None] + to_go[arcs] / self.kl_coef
            shift = exponent.max(axis=1)
            yield contexts, np.exp(exponent - shift[:, None, :]), shift


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
        """KL(pi* || pi0), nats; with stochastic execution the sum of the policy's conditional KLs."""
        return max((self.expected_reward - self.value) / self.kl_coef, 0.0)

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
        return automaton.reward[state] + np.where(ends, automaton.final_reward[after], later)


def _lost(total: FloatArray) -> IntArray:
    """The rows of totals that underflow has touched."""
    if total.size and total.min() >= TRUSTED_TOTAL:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero((total < TRUSTED_TOTAL).any(axis=1))


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
        kl_coef: beta, reward units a nat.

    Returns:
        A `Solution`; it holds C float64 numbers for each time and state that is reached then.

    Raises:
        ValueError: an argument out of range; the message names it, the value and what is allowed.
    """
    return solve_problem(Problem(reference, automaton, horizon, end_token), kl_coef)


def solve_problem(problem: Problem, kl_coef: float) -> Solution:
    """As `solve`; several coefficients of one `Problem` share what does not depend on them."""
    kl_coef = check_kl_coef(kl_coef)
    tilted = Tilted(problem, kl_coef)
    tables: list[FloatArray] = []
    values: FloatArray | None = None
    for time in reversed(range(problem.horizon)):
        values = tilted.soft_maximum(problem.to_go(values, time))
        values.setflags(write=False)
        tables.append(values)
    return Solution(problem, kl_coef, tuple(reversed(tables)))
