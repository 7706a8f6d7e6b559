"""Tabular soft Q-learning on an exact environment with a small state, such as grid navigation.

    V(s) = beta log sum_a pi0(a|s) exp(Q(s, a) / beta)
    Q(s, a) <- Q(s, a) + learning_rate (r + V(s') - Q(s, a))

with beta = kl_coef and no discount. The policy is pi0 exp((Q - V) / beta), and the fixed point pi*. It learns
off-policy: each step is drawn from what ``agents.exploration`` makes of the present policy, by default a
mixture with the reference. Q-learning under a reference: G-learning, Fox, Pakman and Tishby 2016 (arXiv
1512.08562, eq. 14); soft Q-learning, Haarnoja et al. 2017 (arXiv 1702.08165).

States are those of the wrapper ``VectorStateIndex``: tokens written, automaton state, n-gram context. An
episode is learnt from backwards once it is complete, so that a reward reaches its beginning at once. The
KL of the policy depends on what the actions that it avoids are worth, so that much exploration pays. With
a twentieth of it, those actions stay at their first values, and the score stays at .85. The episodes on
record are the mixture's, and so is their KL: their learning curve lies far below the policy that is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np

from agents.arguments import Arguments, Defaults, parse
from agents.exploration import exploring, strength_at
from agents.run import Training, mean, report
from klrl_envs import AutomatonTask, Evaluation, sample_rows
from klrl_envs.networks.table import Table
from klrl_envs.wrappers import Episode, VectorStateIndex

LOGGED = 500  # episodes a line of progress
WITH_LUCK = 0.7
"""The decay of the learning rate where slip, a reply or noise is drawn: the last one alone tells little."""


@dataclass
class QArguments(Arguments):
    """Soft Q-learning."""

    lanes: int = 32
    """episodes side by side"""
    explore: str = "reference"
    """what is tried: "reference", "uniform", "boltzmann" or "ucb", see agents/exploration.py"""
    exploration: float | None = None
    """its strength at first: a share, or nats for ucb"""
    exploration_end: float | None = None
    """the same at the end"""
    learning_rate_decay: float | None = None
    """the learning rate is 1 / visits ** this; None for 0 where nothing is drawn, else .7"""


STRENGTHS: Defaults = {
    "reference": {"exploration": 0.9, "exploration_end": 0.5},
    "uniform": {"exploration": 0.9, "exploration_end": 0.5},
    "boltzmann": {"exploration": 0.9, "exploration_end": 0.5},
    "ucb": {"exploration": 10.0, "exploration_end": 10.0},
}
"""By what is tried."""


class SoftQ(Table):
    """The table, and how often each of its numbers was learnt.

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

    def learn(self, index: Any, actions: Any, rewards: Any) -> None:
        """One episode backwards: state indices, actions and rewards [T]; nothing follows the last step."""
        following = 0.0
        for state, action, reward in zip(index[::-1], actions[::-1], rewards[::-1]):
            self.visits[state, action] += 1
            learning_rate = self.visits[state, action] ** -self.decay
            self.values[state, action] += learning_rate * (reward + following - self.values[state, action])
            following = self.log_rows(state[None])[1][0]


def train(args: QArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    training = Training(args, "q_learning")
    if training.task.exact is None:
        raise ValueError(f"q_learning needs an exact environment, and {training.row.gym_id} is none")
    explore, chosen = exploring(args.explore), STRENGTHS[args.explore]
    first = chosen["exploration"] if args.exploration is None else args.exploration
    last = chosen["exploration_end"] if args.exploration_end is None else args.exploration_end
    table = SoftQ(training.task.exact, args.learning_rate_decay)
    rng = np.random.default_rng(args.seed)
    made = gym.make_vec(
        training.row.gym_id, args.lanes, "vector_entry_point", autoreset_mode="Disabled", **args.env_kwargs
    )
    env, every = VectorStateIndex(made), np.arange(args.lanes)
    index, _ = env.reset(seed=args.seed)
    episodes: list[Episode] = []
    steps: list[list[tuple[Any, Any, float, float, float]]] = [[] for _ in range(args.lanes)]
    while training.left:
        strength = strength_at(training.progress, first, last)
        reference = cast(Any, made.unwrapped).reference_log_probs()
        behaviour = explore(table.log_rows(index)[0], reference, table.visits[index], strength)
        actions = sample_rows(behaviour, rng)
        log_probs, nats = behaviour[every, actions], (behaviour - reference)[every, actions]
        following, rewards, terminated, _, infos = env.step(actions)
        training.count(args.lanes)
        for lane in range(args.lanes):
            step = float(rewards[lane]), float(nats[lane]), float(log_probs[lane])
            steps[lane].append((index[lane], actions[lane], *step))
        index = following
        for lane in np.flatnonzero(terminated).tolist():
            states, taken, paid, k1, log_prob = zip(*steps[lane])
            table.learn(np.array(states), np.array(taken), np.array(paid))
            reward, length = sum(paid), len(paid)
            episodes.append(
                Episode(
                    episode=len(episodes), tokens=training.tokens, text=infos["text"][lane], lane=lane,
                    task_reward=reward, paid=reward, length=length, k1=sum(k1),
                    log_prob=sum(log_prob),
                )
            )  # fmt: skip
            steps[lane] = []
        if len(episodes) >= LOGGED:
            training.record(episodes)
            reward, nats = mean([each.task_reward for each in episodes]), mean([each.k1 for each in episodes])
            objective = reward - training.task.kl_coef * nats
            training.note(objective=objective, reward=reward, kl=nats, exploration=strength)
            episodes = []
        if terminated.any():
            index, _ = env.reset(options={"reset_mask": terminated})
    training.record(episodes)
    training.describe("context, automaton's state, time", "a table")
    return training.finish(table, network=table)


if __name__ == "__main__":
    print(report(train(parse(QArguments, __doc__, STRENGTHS))))
