"""The soft dynamic programme: J*, pi* and log Z of a Markov reference times a reward automaton.

A state is (context of the reference, state of the automaton, tokens written). With beta = kl_coef and
X_t[a, q] the expected reward to go when token a is chosen in q at time t, one backward step is

    V_t[c, q] = beta log sum_a pi0(a|c) exp(X_t[a, q] / beta)
    pi*(a | c, q, t) = pi0(a|c) exp((X_t[a, q] - V_t[c, q]) / beta)

(soft Bellman equation; Todorov 2006, Levine 2018, arXiv 1805.00909, section 2). X does not depend on
the context in which a is chosen, so the step is a matrix product of pi0 [C, V] by exp(X/beta) [V, Q],
each column shifted by its maximum. Where execution is stochastic, X is an expectation over what is
executed, inside the soft maximum: no agent can choose its luck. Everything is float64, in reward units
and nats; nothing is discounted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.tasks.automaton import RewardAutomaton

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SMALLEST_LOG_PROB = -650.0
"""Rows of the reference with an entry below this go through log-sum-exp. exp(X/beta), shifted to a column
maximum of 1, underflows at about -708; above the limit what is lost is below exp(-58) of what is kept."""

BLOCK = 1 << 22
"""Numbers in the largest temporary array of the slow paths."""


class MarkovModel(Protocol):
    """What the solver needs of a reference: `BigramReference` and `UniformReference` have it."""

    table: FloatArray
    """float64[C, V], log pi0(.|context)."""
    contexts: int
    vocab_size: int
    start_context: int

    def next_context(self, tokens: IntArray) -> IntArray:
        """The context after each token, same shape."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    """A Markov reference, a reward automaton and how an episode ends: all but kl_coef.

    Attributes:
        reference: pi0, C contexts and V tokens.
        automaton: Q states and the same V tokens.
        horizon: T, the most tokens that an episode writes.
        end_token: the token whose choice ends the episode, or None.

    Raises:
        ValueError: horizon below 1, end_token out of range, or vocabularies of different sizes.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    horizon: int
    end_token: int | None

    def __post_init__(self) -> None:
        if self.reference.vocab_size != self.automaton.vocab_size:
            raise ValueError(
                f"the automaton reads {self.automaton.vocab_size} tokens, "
                f"the reference writes {self.reference.vocab_size}; they must agree"
            )
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 token, got {self.horizon}")
        if self.end_token is not None and not 0 <= self.end_token < self.automaton.vocab_size:
            raise ValueError(
                f"end_token must be None or 0 to {self.automaton.vocab_size - 1}, got {self.end_token}"
            )

    @cached_property
    def probabilities(self) -> FloatArray:
        """float64[C, V], pi0."""
        return np.exp(self.reference.table)

    @cached_property
    def following(self) -> IntArray:
        """int64[V], the context after each token."""
        return self.reference.next_context(np.arange(self.reference.vocab_size, dtype=np.int64))

    @cached_property
    def _after(self) -> IntArray:
        return np.ascontiguousarray(np.transpose(self.automaton.transition))

    @cached_property
    def _ends(self) -> NDArray[np.bool_]:
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

    def to_go(self, values: FloatArray | None) -> FloatArray:
        """Expected reward of a choice, this step and all that follows.

        Args:
            values: float64[C, Q], the value after the step where the episode goes on; None on the last
                step, where the horizon's reward takes its place.

        Returns:
            float64[V, Q], token chosen and state in which it was.
        """
        if self.automaton.execution is not None:
            return self._to_go_executed(values, self.automaton.execution)
        if values is None:
            going_on = self.automaton.horizon_reward[self._after]
        else:
            going_on = values[self.following[:, None], self._after]
        return self._paid + np.where(self._ends, 0.0, going_on)

    def _to_go_executed(self, values: FloatArray | None, execution: FloatArray) -> FloatArray:
        automaton = self.automaton
        result = np.zeros((automaton.vocab_size, automaton.states))
        for executed in range(automaton.vocab_size):
            chosen = np.flatnonzero(execution[:, executed])
            after = automaton.transition[:, executed]
            if values is None:
                going_on = np.broadcast_to(automaton.horizon_reward[after], (chosen.size, after.size))
            else:
                going_on = values[self.following[chosen][:, None], after[None, :]]
            ends = np.broadcast_to(automaton.absorbing[after], going_on.shape)
            if self.end_token is not None:
                ends = ends | (chosen == self.end_token)[:, None]
            worth = automaton.reward[:, executed] + np.where(ends, automaton.final_reward[after], going_on)
            result[chosen] += execution[chosen, executed][:, None] * worth
        return result

    def at_start(self, values: FloatArray) -> float:
        """Mean over the automaton's start of values float64[C, Q] at the reference's start context."""
        return float(self.automaton.start @ values[self.reference.start_context])

    @cached_property
    def reference_value(self) -> float:
        """J(pi0) = E_0[r], by a linear backward pass, free of kl_coef."""
        values: FloatArray | None = None
        for _ in range(self.horizon):
            values = self.probabilities @ self.to_go(values)
        assert values is not None
        return self.at_start(values)

    @cached_property
    def _rare(self) -> IntArray:
        """The contexts whose rows need log-sum-exp."""
        return np.flatnonzero(self.reference.table.min(axis=1) < SMALLEST_LOG_PROB)

    def soft_maximum(self, to_go: FloatArray, kl_coef: float) -> FloatArray:
        """beta log sum_a pi0(a|c) exp(to_go[a, q] / beta), float64[C, Q]."""
        top = to_go.max(axis=0)
        scaled = (to_go - top) / kl_coef
        # log1p and expm1 keep a large kl_coef from cancelling; the plain form is for wide columns
        narrow = scaled.min(axis=0) > -1.0
        tilt = np.exp(scaled)
        tilt[:, narrow] = np.expm1(scaled[:, narrow])
        total = self.probabilities @ tilt
        total[:, narrow] = np.log1p(total[:, narrow])
        with np.errstate(divide="ignore"):
            total[:, ~narrow] = np.log(total[:, ~narrow])
        result = top + kl_coef * total
        for contexts, weights, shift in self._rare_weights(to_go, kl_coef):
            result[contexts] = kl_coef * (np.log(weights.sum(axis=1)) + shift)
        return result

    def tilted_mean(self, quantity: FloatArray, to_go: FloatArray, kl_coef: float) -> FloatArray:
        """Mean of quantity float64[V, Q] under pi0(a|c) exp(to_go[a, q] / beta), float64[C, Q]."""
        tilt = np.exp((to_go - to_go.max(axis=0)) / kl_coef)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = (self.probabilities @ (tilt * quantity)) / (self.probabilities @ tilt)
        for contexts, weights, _ in self._rare_weights(to_go, kl_coef):
            result[contexts] = (weights * quantity).sum(axis=1) / weights.sum(axis=1)
        return result

    def _rare_weights(
        self, to_go: FloatArray, kl_coef: float
    ) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
        """Yield (contexts [k], weights [k, V, Q], shift [k, Q]): weights exp(-shift) is the tilted pi0."""
        block = max(1, BLOCK // to_go.size)
        for first in range(0, self._rare.size, block):
            contexts = self._rare[first : first + block]
            exponent = self.reference.table[contexts][:, :, None] + to_go / kl_coef
            shift = exponent.max(axis=1)
            yield contexts, np.exp(exponent - shift[:, None, :]), shift


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of a problem at one kl_coef: its value and its policy.

    Attributes:
        problem: what was solved.
        kl_coef: beta, above 0.
        tables: float64[T, C, Q], V_t of a state in which the episode goes on.
    """

    problem: Problem
    kl_coef: float
    tables: FloatArray

    @cached_property
    def value(self) -> float:
        """J*, the mean of V_0 over the automaton's start."""
        return self.problem.at_start(self.tables[0])

    @property
    def reference_value(self) -> float:
        """J(pi0), the expected reward of the reference."""
        return self.problem.reference_value

    @cached_property
    def expected_reward(self) -> float:
        """E*[r], by a backward pass under pi*."""
        values: FloatArray | None = None
        for time in reversed(range(self.problem.horizon)):
            soft = self.problem.to_go(self._next_table(time))
            values = self.problem.tilted_mean(self.problem.to_go(values), soft, self.kl_coef)
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
            ValueError: an index out of range.
        """
        context, state, time = self._indices(context, state, time, self.problem.horizon)
        over = self.problem.automaton.absorbing[state] | (time == self.problem.horizon)
        return np.where(over, 0.0, self.tables[np.minimum(time, self.problem.horizon - 1), context, state])

    def log_probs(self, context: ArrayLike, state: ArrayLike, time: ArrayLike) -> FloatArray:
        """Rows log pi*(. | context, state, time) of states in which the episode goes on.

        Args:
            context: int64[N], of the reference.
            state: int64[N], of the automaton.
            time: int64[N], tokens already written, 0 to T - 1.

        Returns:
            float64[N, V], nats, normalised.

        Raises:
            ValueError: an index out of range.
        """
        context, state, time = self._indices(context, state, time, self.problem.horizon - 1)
        rows = self.problem.reference.table[context] + self._to_go_rows(state, time) / self.kl_coef
        rows -= rows.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return rows

    def _next_table(self, time: int) -> FloatArray | None:
        return self.tables[time + 1] if time + 1 < self.problem.horizon else None

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

    def _to_go_rows(self, state: IntArray, time: IntArray) -> FloatArray:
        """float64[N, V], the columns of `Problem.to_go` of each lane's own state and time."""
        problem, automaton = self.problem, self.problem.automaton
        tokens, execution = automaton.vocab_size, automaton.execution
        after = automaton.transition[state]
        later = np.minimum(time + 1, problem.horizon - 1)
        if execution is None:
            going_on = self.tables[later[:, None], problem.following, after]
            return self._worth(state, time, after, going_on, np.arange(tokens))
        rows = np.empty((state.size, tokens))
        block = max(1, BLOCK // (state.size * tokens + 1))
        for first in range(0, tokens, block):
            chosen = np.arange(first, min(first + block, tokens))
            following = problem.following[chosen]
            going_on = self.tables[later[:, None, None], following[:, None], after[:, None, :]]
            worth = self._worth(state[:, None], time[:, None], after[:, None, :], going_on, chosen[:, None])
            rows[:, chosen] = np.einsum("nab,ab->na", worth, execution[chosen])
        return rows

    def _worth(
        self, state: IntArray, time: IntArray, after: IntArray, going_on: FloatArray, chosen: IntArray
    ) -> FloatArray:
        """Reward of a step and what follows, the executed token on the last axis."""
        automaton = self.problem.automaton
        last = (time == self.problem.horizon - 1)[..., None]
        ends = automaton.absorbing[after]
        if self.problem.end_token is not None:
            ends = ends | (chosen == self.problem.end_token)
        later = np.where(last, automaton.horizon_reward[after], going_on)
        return automaton.reward[state] + np.where(ends, automaton.final_reward[after], later)


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
        A `Solution`; it holds T * C * Q float64 numbers.

    Raises:
        ValueError: an argument out of range; the message names it, the value and what is allowed.
    """
    return solve_problem(Problem(reference, automaton, horizon, end_token), kl_coef)


def solve_problem(problem: Problem, kl_coef: float) -> Solution:
    """As `solve`; several coefficients of one `Problem` share what does not depend on them."""
    kl_coef = check_kl_coef(kl_coef)
    shape = (problem.horizon, problem.reference.contexts, problem.automaton.states)
    tables = np.empty(shape)
    values: FloatArray | None = None
    for time in reversed(range(problem.horizon)):
        values = problem.soft_maximum(problem.to_go(values), kl_coef)
        tables[time] = values
    tables.setflags(write=False)
    return Solution(problem, kl_coef, tables)
