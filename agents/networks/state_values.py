"""A table of Q by time, state and token, learnt for all times from each step: soft Q-learning of words.

Of an automaton without luck, in which step (q, a) leads to q', is paid r, and the horizon pays H(q'):

    Q_t(q, a) <- r + V_t+1(a, q')      for every t at once, whenever the step was written
    Q_T-1(q, a) <- r + H(q')
    V_t(c, q) = beta log sum_a pi0(a|c) exp(Q_t(q, a) / beta)

as the automaton knows no time (values of every horizon from the same steps: De Asis et al. 2019, arXiv
1909.03906). pi0's context c is the token before, or none. A step is learnt from again later, among others
that are drawn (replay: Lin 1992), as what follows it was little known at first. A token that was never tried
in a state is worth what was tried there is on the mean, so that nothing is known for or against it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.networks.certain_steps import CertainSteps, FloatArray
from agents.networks.lanes import StateEpisodes
from klrl_envs import AutomatonTask
from klrl_envs.networks.state_table import StateTable

Following = Callable[[int, NDArray[np.int64]], FloatArray]
"""(state, contexts [n]) -> what they are worth [T - 1, n] at every time but the first."""


class StateValues(StateTable):
    """The table, and the steps that it was learnt from.

    Args:
        task: an exact task that never writes itself, has no luck, and pays by state and token.
        replays: how many steps are learnt from again for each that is written.
        rng: draws them.

    Raises:
        ValueError: another task, or too large a table.
    """

    def __init__(self, task: AutomatonTask, replays: float, rng: np.random.Generator) -> None:
        if replays < 0:
            raise ValueError(f"replays must be 0 or more, got {replays}")
        luck = not task.automaton.deterministic or task.replies is not None
        bigram = task.reference.arc_tokens.size == task.vocab_size
        if luck or not bigram or task.automaton.context_reward is not None:
            raise ValueError(
                "a table of words needs an environment without luck that never writes itself and pays by "
                f"state and token, and a bigram or the uniform reference; {task.id} is none"
            )
        super().__init__(task)
        self._known, self._replays, self._rng = CertainSteps(task), replays, rng
        self._probabilities = np.exp(task.reference.rows(np.arange(task.reference.contexts)))

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
        tokens, rewards = self.task.vocab_size, self._rewards()
        fresh = np.unique(written.state[written.mask] * tokens + written.actions[written.mask])
        known = np.flatnonzero(self._known.visits)
        again = self._rng.choice(known, min(len(known), round(self._replays * len(fresh))), replace=False)
        for steps in (fresh, again):
            self._back_up(steps // tokens, steps % tokens, *rewards, following or self.soft_values)
            self._guess(np.unique(steps // tokens))

    def soft_values(self, state: int, context: NDArray[np.int64]) -> FloatArray:
        """V [T - 1, n] of a state in contexts [n], at every time but the first."""
        worth = self.values[1:, state].astype(np.float64)
        top = worth.max(axis=1, keepdims=True)
        weights = np.exp((worth - top) / self.task.kl_coef)
        return top + self.task.kl_coef * np.log(weights @ self._probabilities[context].T)

    def _back_up(
        self,
        state: NDArray[np.int64],
        token: NDArray[np.int64],
        steps: FloatArray,
        horizon: FloatArray,
        following: Following,
    ) -> None:
        """Q of states and tokens [n], at all times, of what steps [Q, V] and the horizon [Q + 1] pay."""
        after, contexts = self._known.after[state, token], self.task.reference.arc_contexts[token]
        values = np.zeros((self.task.horizon, len(state)))
        values[-1] = horizon[after]
        for reached in np.unique(after[after < len(horizon) - 1]).tolist():
            of_it = after == reached
            values[:-1, of_it] = following(reached, contexts[of_it])
        self.values[:, state, token] = steps[state, token] + values

    def _guess(self, states: NDArray[np.int64]) -> None:
        """Q of what was never tried in some states, by what was."""
        tried = self._known.visits[states] > 0
        worth = self.values[:, states]
        mean = (worth * tried).sum(axis=2, keepdims=True) / tried.sum(axis=1)[:, None]
        self.values[:, states] = np.where(tried, worth, mean)

    def _rewards(self) -> tuple[FloatArray, FloatArray]:
        """What steps pay [Q, V], and what the horizon pays [Q + 1] in states, or at the end.

        A last step shows the sum of the two; a step that was seen as such alone pays what is left of it.
        """
        known = self._known
        counts, sums = known.alone()
        steps = sums / counts.clip(min=1)
        ends, paid = known.horizon(steps)
        horizon = np.append(paid / ends.clip(min=1), 0.0)
        left = known.last_paid / known.last.clip(min=1) - horizon[known.after.clip(min=0)]
        return np.where((counts == 0) & (known.last > 0), left, steps), horizon
