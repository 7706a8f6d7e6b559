"""Tabular soft Q-learning on an exact environment, of grids and of words.

    V(s) = beta log sum_a pi0(a|s) exp(Q(s, a) / beta)
    Q(s, a) <- Q(s, a) + learning_rate (r + V(s') - Q(s, a))

with beta = kl_coef and no discount. The policy is pi0 exp((Q - V) / beta), and the fixed point pi*. It
learns off-policy: each step is drawn from what ``agents.exploration`` makes of the present policy.
Q-learning under a reference: G-learning, Fox, Pakman and Tishby 2016 (arXiv 1512.08562, eq. 14); soft
Q-learning, Haarnoja et al. 2017 (arXiv 1702.08165).

Where luck has no part, Q is of tokens written and automaton state; a step is learnt from for all times at
once, and again later: see ``agents.networks.state_values``. Who tries the best that is known finds no other
way, so that each Q gets a bonus that falls with its visits (ucb).

Where it has (slip, a reply), where pi0 sees more than one token, or where the agent must begin elsewhere
than at pi0, states are those of the wrapper ``StateIndex``: tokens written, automaton state, n-gram
context. An episode is learnt from backwards once it is complete, so that a reward reaches its beginning at
once. What is tried is a mixture with pi0, and much of it: the KL of the policy depends on what the actions
that it avoids are worth, and with little of it those stay at their first values.

The episodes on record are those of what is tried, and so is their KL: their learning curve lies far below
the policy that is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

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
"""The decay of the learning rate where slip, a reply or noise is drawn: the last one alone tells little."""


@dataclass
class QArguments(Arguments):
    """Soft Q-learning."""

    lanes: int = 32
    """episodes side by side"""
    explore: str | None = None
    """what is tried: "reference", "uniform", "boltzmann" or "ucb", see agents/exploration.py; None for ucb
    without luck, else reference"""
    exploration: float | None = None
    """its strength at first: a share, or nats for ucb"""
    exploration_end: float | None = None
    """the same at the end"""
    learning_rate_decay: float | None = None
    """with luck: the learning rate is 1 / visits ** this; None for 0 where nothing is drawn, else .7"""
    replays: float = 4.0
    """without luck: pairs of state and token that are learnt from again for each that was written"""


STRENGTHS: Defaults = {
    "reference": {"exploration": 0.9, "exploration_end": 0.5},
    "uniform": {"exploration": 0.9, "exploration_end": 0.5},
    "boltzmann": {"exploration": 0.9, "exploration_end": 0.5},
    "ucb": {"exploration": 4.0, "exploration_end": 0.0},
}
"""By what is tried."""


class SoftQ(Table):
    """The table of contexts, and how often each of its numbers was learnt.

    Args:
        task: an exact task.
        decay: the learning rate is 1 / visits ** this; what fits the task where None.

    Attributes:
        visits: int64 [S, V].
    """

    def __init__(self, task: AutomatonTask, decay: float | None = None) -> None:
        super().__init__(task)
        luck = not task.automaton.deterministic or task.reward_noise > 0
        self.decay = decay if decay is not None else WITH_LUCK if luck else 0.0
        self.visits = np.zeros(self.values.shape, dtype=np.int64)

    def visited(self, context: NDArray[np.int64], state: NDArray[np.int64], time: int) -> NDArray[np.int64]:
        """How often tokens were written [N, V] in contexts and automaton states [N]."""
        return self.visits[self.index(context, state, time)]

    def learn(self, written: StateEpisodes) -> None:
        """Learn from episodes one after the other."""
        times = np.arange(written.mask.shape[1])
        for lane, mask in enumerate(written.mask):
            index = self.index(written.context[lane, mask], written.state[lane, mask], times[mask])
            self.learn_episode(index, written.actions[lane, mask], written.rewards[lane, mask])

    def learn_episode(self, index: Any, actions: Any, rewards: Any) -> None:
        """One episode backwards: state indices, actions and rewards [T]; nothing follows the last step."""
        following = 0.0
        for state, action, reward in zip(index[::-1], actions[::-1], rewards[::-1]):
            self.visits[state, action] += 1
            learning_rate = self.visits[state, action] ** -self.decay
            self.values[state, action] += learning_rate * (reward + following - self.values[state, action])
            following = self.log_rows(state[None])[1][0]


def table_of(task: AutomatonTask, args: QArguments) -> SoftQ | StateValues:
    """The table that fits a task; ValueError where none does."""
    if not fits_words(task):
        return SoftQ(task, args.learning_rate_decay)
    if args.learning_rate_decay is not None:
        raise ValueError(f"learning-rate-decay is for tables of contexts, and that of {task.id} has none")
    return StateValues(task, args.replays, np.random.default_rng((args.seed, 2)))


def behave(
    table: SoftQ | StateValues,
    explore: Explore,
    strength: float,
    context: NDArray[np.int64],
    state: NDArray[np.int64],
    time: int,
) -> NDArray[np.float64]:
    """log mu [N, V] in states [N]: the policy of a table, explored."""
    rows = table.state_log_probs(context, state, np.full_like(state, time))
    return explore(rows, table.task.reference.rows(context), table.visited(context, state, time), strength)


def train(args: QArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    training = Training(args, "q_learning")
    task = training.task.exact
    if task is None:
        raise ValueError(f"q_learning needs an exact environment, and {training.row.gym_id} is none")
    name = args.explore or ("ucb" if fits_words(task) else "reference")
    explore, chosen = exploring(name), STRENGTHS[name]
    first = chosen["exploration"] if args.exploration is None else args.exploration
    last = chosen["exploration_end"] if args.exploration_end is None else args.exploration_end
    table = table_of(task, args)
    table.for_evaluation(training.evaluation_task)  # refused before anything is written
    engine, rng = Engine(task, args.lanes), np.random.default_rng(args.seed)
    engine.seed_lanes(np.random.default_rng((args.seed, 1)))
    while training.left:
        strength = strength_at(training.progress, first, last)
        written = write_episodes(engine, partial(behave, table, explore, strength), rng)
        table.learn(written)
        training.count(written.steps)
        training.record(written.episodes(training.tokens, task.kl_coef))
        reward, nats = mean(written.rewards.sum(axis=1)), mean(written.log_ratios.sum(axis=1))
        objective = reward - task.kl_coef * nats
        training.note(objective=objective, reward=reward, kl=nats, exploration=strength)
    training.describe("context, automaton's state, time", "a table")
    return training.finish(table, network=table)


if __name__ == "__main__":
    print(report(train(parse(QArguments, __doc__, STRENGTHS))))
