"""A table of Q by time, state and token, learnt for all times from each step: soft Q-learning of words.

Of an automaton without luck, in which step (q, a) leads to q', is paid r, and the horizon pays H(q'):

    Q_t(q, a) <- r + V_t+1(a, q')      for every t from the last to the first, whenever the step was written
    Q_T-1(q, a) <- r + H(q')
    V_t(c, q) = beta log sum_a pi0(a|c) exp(Q_t(q, a) / beta)

as the automaton knows no time (values of every horizon from the same steps: De Asis et al. 2019, arXiv
1909.03906). pi0's context c is the token before, or none. Steps of before are learnt from again among those
just written (replay: Lin 1992), as what follows them was little known at first.

What was never tried, or led to where nothing is known of what follows, is worth what states and tokens are on
the mean: what the state is at that time, and what the token is beyond that in other states. So nothing is
known for or against it, and the policy is the same whatever constant is added to rewards of whole texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.networks.certain_steps import CertainSteps, FloatArray
from agents.networks.lanes import StateEpisodes
from klrl_envs import AutomatonTask
from klrl_envs.networks.state_table import StateTable

LEAST = -700.0
"""Nats: the least log-probability of pi0 of which float64 has the exponential."""

Following = Callable[[NDArray[np.int64], NDArray[np.int64]], Callable[[int], FloatArray]]
"""States and contexts [n] -> what they are worth [n] at a time."""


class StateValues(StateTable):
    """The table, and the steps that it was learnt from.

    Args:
        task: an exact task that ``fits_words``.
        replays: how many pairs of state and token are learnt from again for each that was written.
        rng: draws them.

    Raises:
        ValueError: another task, too large a table, or replays below 0.
    """

    def __init__(self, task: AutomatonTask, replays: float, rng: np.random.Generator) -> None:
        if not 0 <= replays < math.inf:
            raise ValueError(f"replays must be 0 or more, got {replays}")
        if not fits_words(task):
            raise ValueError(
                "a table of words needs an environment without luck that never writes itself, pays by state "
                f"and token and begins at pi0, a bigram or the uniform reference; {task.id} is none"
            )
        super().__init__(task)
        self._known, self._replays, self._rng = CertainSteps(task), replays, rng
        self._parts = np.zeros((task.horizon, task.vocab_size), dtype=np.float32)

    def visited(self, context: NDArray[np.int64], state: NDArray[np.int64], time: int) -> NDArray[np.int64]:
        """How often tokens were written [N, V] in states [N], at whatever time."""
        return self._known.visits[state]

    def learn(self, written: StateEpisodes, following: Following | None = None) -> None:
        """Learn from the steps of episodes, and from others that were seen before.

        Args:
            written: the episodes.
            following: what follows is worth; the soft values where None.
        """
        self._known.learn(written)
        state, token = self._pairs(written)
        steps, horizon, paid = self._rewards()
        after, tried = self._known.after, self._known.visits > 0
        acted = np.append(tried.any(axis=1), True)
        reached = after[state, token]
        goes_on = np.flatnonzero(reached < len(steps))
        contexts = self.task.reference.arc_contexts[token[goes_on]]
        worth = (following or self.soft_values)(reached[goes_on], contexts)
        values, known = horizon[reached], tried & paid[after]
        for time in reversed(range(self.task.horizon)):
            if time < self.task.horizon - 1:
                values, known = np.zeros(len(state)), tried & acted[after]
                values[goes_on] = worth(time + 1)
            self.values[time, state, token] = steps[state, token] + values
            self.values[time], self._parts[time] = guessed(self.values[time], known, self._parts[time])

    def soft_values(
        self, state: NDArray[np.int64], context: NDArray[np.int64]
    ) -> Callable[[int], FloatArray]:
        """V [n] of states in contexts [n], at a time."""
        beta, probabilities = self.task.kl_coef, np.exp(self.task.reference.rows(context))
        places = [(each, np.flatnonzero(state == each)) for each in np.unique(state).tolist()]
        parts = [(each, of_it, probabilities[of_it]) for each, of_it in places]

        def at(time: int) -> FloatArray:
            values = np.empty(len(state))
            for each, of_it, rows in parts:
                nats = self.values[time, each].astype(np.float64) / beta
                top = nats.max()
                values[of_it] = beta * (top + np.log(rows @ np.exp(nats - top)))
            return values

        return at

    def _pairs(self, written: StateEpisodes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """States and tokens [n] of episodes, and of steps before."""
        tokens = self.task.vocab_size
        fresh = np.unique(written.state[written.mask] * tokens + written.actions[written.mask])
        known = np.flatnonzero(self._known.visits)
        again = self._rng.choice(known, min(len(known), round(self._replays * len(fresh))), replace=False)
        pairs: NDArray[np.int64] = np.union1d(fresh, again)
        return pairs // tokens, pairs % tokens

    def _rewards(self) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """What steps pay [Q, V], what the horizon pays in states [Q + 1], at the end nothing, and where that
        was seen [Q + 1].

        A last step shows the sum of the two; a step that was seen as such alone pays what is left of it.
        """
        known = self._known
        counts, sums = known.alone()
        steps = sums / counts.clip(min=1)
        ends, paid = known.horizon(steps)
        horizon = np.append(paid / ends.clip(min=1), 0.0)
        left = known.last_paid / known.last.clip(min=1) - horizon[known.after]
        steps = np.where((counts == 0) & (known.last > 0), left, steps)
        return steps, horizon, np.append(ends > 0, True)


def guessed(
    values: NDArray[np.float32], known: NDArray[np.bool_], columns: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values [Q, V], those that are not known by those that are: a part of the row and one of the column.

    A row's part is the mean of what is known in it beyond the columns' parts, a column's the mean beyond the
    rows' parts, counted with a zero: a step of alternating least squares.

    Args:
        values: [Q, V].
        known: bool [Q, V].
        columns: [V], their parts so far.

    Returns:
        The values [Q, V], and the columns' parts [V].
    """
    if not known.any():
        return np.zeros_like(values), columns
    counts = known.sum(axis=1, dtype=np.float32)
    sums = np.where(known, values - columns, np.float32(0)).sum(axis=1)
    rows = np.where(counts > 0, sums / counts.clip(min=1), sums.sum() / counts.sum())
    sums = np.where(known, values - rows[:, None], np.float32(0)).sum(axis=0)
    columns = sums / (1 + known.sum(axis=0, dtype=np.float32))
    return np.where(known, values, rows[:, None] + columns), columns


def fits_words(task: AutomatonTask) -> bool:
    """Whether a task's optimum is pi0 times a function of time, state and token, and steps tell all of it."""
    automaton, reference = task.automaton, task.reference
    return (
        automaton.deterministic
        and task.replies is None
        and task.initial_policy is None
        and automaton.context_reward is None
        and reference.arc_tokens.size == task.vocab_size
        and reference.least > LEAST
    )
