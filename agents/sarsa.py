"""Soft SARSA on an exact environment, grid or words: the value of what the agent does, KL paid.

    V(s) = E_mu [Q(s, a) - beta (log mu(a|s) - log pi0(a|s))]
    Q(s, a) <- Q(s, a) + learning_rate (r + V(s') - Q(s, a))

with beta = kl_coef and no discount. mu is the behaviour, what ``agents.exploration`` makes of the policy
pi = pi0 exp(Q / beta) / Z, which improves on mu by following its Q. The expectation is taken over the row
("expected SARSA") or, with ``--no-expected``, at the token that was taken. Sources: SARSA, Rummery and
Niranjan 1994; expected SARSA, van Seijen et al. 2009; the KL in the value, Fox, Pakman and Tishby 2016 (arXiv
1512.08562).

Fixed point: without exploration mu is pi, and Q - beta log(pi / pi0) is V for every token alike, so that both
forms are soft Q-learning, and pi* is the fixed point. With exploration the values are those of an agent that
explores for ever, and the fixed point is pi0 exp(Q / beta) / Z of such values, not pi*. The strength falls,
so that pi* is nearly met; what was last tried when it was larger is worth too little.

States are those of ``StateIndex``: tokens written, automaton state, n-gram context. Episodes are learnt
from backwards once they are complete; of lanes in one state the mean target counts. A token that was never
tried in a state is worth what was tried there last, so that nothing is known against it and the policy stays
at pi0 between the two; at a first value of 0 it would be avoided, or sought, by the sign of the reward. That
is the table where luck has a part, or of the token that was taken. Elsewhere Q is of tokens written and
automaton state, each step is learnt from for all times at once, and what was never tried is guessed by state
and token: see ``agents.networks.state_values``. Left out: eligibility traces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.arguments import Arguments, Defaults, parse
from agents.exploration import Explore, exploring, strength_at
from agents.networks.lanes import StateEpisodes, write_episodes
from agents.networks.state_values import StateValues, fits_words
from agents.run import Training, mean, report
from klrl_envs import AutomatonTask, Engine, Evaluation
from klrl_envs.networks.table import Table

WITH_LUCK = 0.7
"""The decay of the learning rate where a target is drawn: the last one alone tells little."""


@dataclass
class SarsaArguments(Arguments):
    """Soft SARSA."""

    lanes: int = 32
    """episodes side by side"""
    expected: bool = True
    """whether the value of a state is the mean over its row, or that of the token taken (with luck)"""
    explore: str = "reference"
    """what is tried: "reference", "uniform", "boltzmann" or "ucb", see agents/exploration.py"""
    exploration: float | None = None
    """its strength at first: a share, or nats for ucb"""
    exploration_end: float | None = None
    """the same at the end"""
    replays: float = 0.0
    """without luck: pairs of state and token that are learnt from again for each that was written"""
    learning_rate_decay: float | None = None
    """of few states: the learning rate is 1 / visits ** this; None for 0 where sure of it, else .7"""


STRENGTHS: Defaults = {
    "reference": {"exploration": 0.5, "exploration_end": 0.1},
    "uniform": {"exploration": 0.5, "exploration_end": 0.1},
    "boltzmann": {"exploration": 0.5, "exploration_end": 0.1},
    "ucb": {"exploration": 3.0, "exploration_end": 1.0},
}
"""By what is tried."""


class SoftSarsa(Table):
    """The table, and how often each of its numbers was learnt.

    Args:
        task: an exact task.
        explore: from ``agents.exploration``.
        expected: see ``SarsaArguments``.
        decay: the learning rate is 1 / visits ** this; what fits the task where None.

    Attributes:
        visits: int64 [S, V].
    """

    def __init__(
        self, task: AutomatonTask, explore: Explore, *, expected: bool = True, decay: float | None = None
    ) -> None:
        super().__init__(task)
        self._explore, self._expected = explore, expected
        certain = expected and task.automaton.deterministic and not task.reward_noise
        self.decay = decay if decay is not None else 0.0 if certain else WITH_LUCK
        self.visits = np.zeros(self.values.shape, dtype=np.int64)
        self._first = self.values.copy()

    def behaviour(self, index: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
        """log mu [N, V] of state indices [N]."""
        reference = self.task.reference.rows(index % self.contexts)
        return self._explore(self.log_rows(index)[0], reference, self.visits[index], strength)

    def behaviour_at(
        self, strength: float, context: NDArray[np.int64], state: NDArray[np.int64], time: int
    ) -> NDArray[np.float64]:
        """The same of contexts and automaton states [N] after so many tokens."""
        return self.behaviour(self.index(context, state, time), strength)

    def expected_values(self, index: NDArray[np.int64], strength: float) -> NDArray[np.float64]:
        """V [N] of state indices [N], over the row of the behaviour."""
        rows = self.behaviour(index, strength)
        nats = rows - self.task.reference.rows(index % self.contexts)
        return (np.exp(rows) * (self.values[index] - self.kl_coef * nats)).sum(axis=1)

    def learn_from(self, written: StateEpisodes, strength: float) -> None:
        """Episodes backwards, each step of all lanes at once."""
        following = np.zeros(len(written.mask))
        for time in reversed(range(written.mask.shape[1])):
            lanes = np.flatnonzero(written.mask[:, time])
            index = self.index(written.context[lanes, time], written.state[lanes, time], time)
            actions = written.actions[lanes, time]
            self.update(index, actions, written.rewards[lanes, time] + following[lanes])
            if self._expected:
                following[lanes] = self.expected_values(index, strength)
            else:
                paid = self.kl_coef * written.log_ratios[lanes, time]
                following[lanes] = self.values[index, actions] - paid

    def update(
        self, index: NDArray[np.int64], actions: NDArray[np.int64], targets: NDArray[np.float64]
    ) -> None:
        """Move Q of state indices and tokens [N] to the mean of their targets [N]."""
        vocab_size = self.values.shape[1]
        pairs, place, counts = np.unique(
            index * vocab_size + actions, return_inverse=True, return_counts=True
        )
        target = np.bincount(place, weights=targets) / counts
        state, token = pairs // vocab_size, pairs % vocab_size
        self.visits[state, token] += counts
        rate = np.minimum(counts * self.visits[state, token] ** -self.decay, 1.0)  # of as many in turn
        self.values[state, token] += rate * (target - self.values[state, token])
        untried = self.visits[state] == 0
        self.values[state] = np.where(untried, target[:, None] + self._first[state], self.values[state])


class WordSarsa(StateValues):
    """The table of words, of tokens written and automaton state.

    Args:
        task, replays, rng: see ``StateValues``.
        explore: from ``agents.exploration``.
    """

    def __init__(
        self, task: AutomatonTask, explore: Explore, replays: float, rng: np.random.Generator
    ) -> None:
        super().__init__(task, replays, rng)
        self._explore = explore

    def behaviour(
        self,
        context: NDArray[np.int64],
        state: NDArray[np.int64],
        time: NDArray[np.int64],
        strength: float,
    ) -> NDArray[np.float64]:
        """log mu [N, V] in states [N]."""
        rows, reference = self.state_log_probs(context, state, time), self.task.reference.rows(context)
        return self._explore(rows, reference, self.visited(context, state, 0), strength)

    def behaviour_at(
        self, strength: float, context: NDArray[np.int64], state: NDArray[np.int64], time: int
    ) -> NDArray[np.float64]:
        """The same of contexts and automaton states [N] after so many tokens."""
        return self.behaviour(context, state, np.full_like(state, time), strength)

    def expected_values(
        self, strength: float, state: NDArray[np.int64], context: NDArray[np.int64]
    ) -> Callable[[int], NDArray[np.float64]]:
        """V [n] of states in contexts [n], at a time, over rows of the behaviour."""
        reference = self.task.reference.rows(context)

        def at(time: int) -> NDArray[np.float64]:
            rows = self.behaviour(context, state, np.full_like(state, time), strength)
            worth = self.values[time, state] - self.task.kl_coef * (rows - reference)
            return (np.exp(rows) * worth).sum(axis=1)

        return at

    def learn_from(self, written: StateEpisodes, strength: float) -> None:
        """The steps of episodes, each for all times."""
        self.learn(written, partial(self.expected_values, strength))


def table_of(task: AutomatonTask, args: SarsaArguments, explore: Explore) -> SoftSarsa | WordSarsa:
    """The table that fits a task; ValueError where none does."""
    if not fits_words(task) or not args.expected:
        return SoftSarsa(task, explore, expected=args.expected, decay=args.learning_rate_decay)
    if args.learning_rate_decay is not None:
        raise ValueError(f"learning-rate-decay is for tables of contexts, and that of {task.id} has none")
    return WordSarsa(task, explore, args.replays, np.random.default_rng((args.seed, 2)))


def train(args: SarsaArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    training = Training(args, "sarsa")
    task = training.task.exact
    if task is None:
        raise ValueError(f"sarsa needs an exact environment, and {training.row.gym_id} is none")
    explore, chosen = exploring(args.explore), STRENGTHS[args.explore]
    first = chosen["exploration"] if args.exploration is None else args.exploration
    last = chosen["exploration_end"] if args.exploration_end is None else args.exploration_end
    table = table_of(task, args, explore)
    table.for_evaluation(training.evaluation_task)  # refused before anything is written
    engine, rng = Engine(task, args.lanes), np.random.default_rng(args.seed)
    engine.seed_lanes(np.random.default_rng((args.seed, 1)))
    while training.left:
        strength = strength_at(training.progress, first, last)
        written = write_episodes(engine, partial(table.behaviour_at, strength), rng)
        table.learn_from(written, strength)
        training.count(written.steps)
        training.record(written.episodes(training.tokens, task.kl_coef))
        reward, nats = mean(written.rewards.sum(axis=1)), mean(written.log_ratios.sum(axis=1))
        objective = reward - task.kl_coef * nats
        training.note(objective=objective, reward=reward, kl=nats, exploration=strength)
    training.describe("context, automaton's state, time", "a table")
    return training.finish(table, network=table)


if __name__ == "__main__":
    print(report(train(parse(SarsaArguments, __doc__, STRENGTHS))))
