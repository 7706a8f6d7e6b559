"""Tabular soft Q-learning on an exact environment with a small state, such as grid navigation.

    V(s) = beta log sum_a pi0(a|s) exp(Q(s, a) / beta)
    Q(s, a) <- Q(s, a) + learning_rate (r + V(s') - Q(s, a))

with beta = kl_coef and no discount. The policy is pi0 exp((Q - V) / beta). It learns off-policy: each step is
drawn from a mixture of the present policy and the reference. Q-learning under a reference: G-learning, Fox,
Pakman and Tishby 2016 (arXiv 1512.08562, eq. 14); soft Q-learning, Haarnoja et al. 2017 (arXiv 1702.08165).

States are those of the wrapper ``VectorStateIndex``: tokens written, automaton state, n-gram context. An
episode is learnt from backwards once it is complete, so that a reward reaches its beginning at once. The
KL of the policy depends on what the actions that it avoids are worth, so that much exploration pays. With
a twentieth of it, those actions stay at their first values, and the score stays at .85.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np

from agents.arguments import Arguments, parse
from agents.run import Training, mean, report
from klrl_envs import AutomatonTask, Evaluation, sample_rows
from klrl_envs.networks.table import Table
from klrl_envs.wrappers import VectorStateIndex

LOGGED = 500  # episodes a line of progress


@dataclass
class QArguments(Arguments):
    """Soft Q-learning."""

    lanes: int = 32
    """episodes side by side"""
    exploration: float = 0.9
    """share of the reference in the behaviour, at first"""
    exploration_end: float = 0.5
    """the same at the end"""
    learning_rate_decay: float = 0.0
    """the learning rate is 1 / visits ** this; 0 is right where steps are deterministic, .7 with slip"""


class SoftQ(Table):
    """The table, and how often each of its numbers was learnt.

    Args:
        task: an exact task.

    Attributes:
        visits: int64 [S, V].
    """

    def __init__(self, task: AutomatonTask) -> None:
        super().__init__(task)
        self.visits = np.zeros(self.values.shape, dtype=np.int64)

    def learn(self, index: Any, actions: Any, rewards: Any, args: QArguments) -> None:
        """One episode backwards: state indices, actions and rewards [T]; nothing follows the last step."""
        following = 0.0
        for state, action, reward in zip(index[::-1], actions[::-1], rewards[::-1]):
            self.visits[state, action] += 1
            learning_rate = self.visits[state, action] ** -args.learning_rate_decay
            self.values[state, action] += learning_rate * (reward + following - self.values[state, action])
            following = self.log_rows(state[None])[1][0]


def train(args: QArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    training = Training(args, "q_learning")
    if training.task.exact is None:
        raise ValueError(f"q_learning needs an exact environment, and {training.row.gym_id} is none")
    table = SoftQ(training.task.exact)
    rng = np.random.default_rng(args.seed)
    made = gym.make_vec(
        training.row.gym_id, args.lanes, "vector_entry_point", autoreset_mode="Disabled", **args.env_kwargs
    )
    env = VectorStateIndex(made)
    index, _ = env.reset(seed=args.seed)
    returns: list[float] = []
    steps: list[list[tuple[Any, Any, float]]] = [[] for _ in range(args.lanes)]
    while training.left:
        share = args.exploration + (args.exploration_end - args.exploration) * training.progress
        rows, _ = table.log_rows(index)
        explore = rng.random(args.lanes) < share
        rows = np.where(explore[:, None], cast(Any, made.unwrapped).reference_log_probs(), rows)
        actions = sample_rows(rows, rng)
        following, rewards, terminated, _, _ = env.step(actions)
        for lane in range(args.lanes):
            steps[lane].append((index[lane], actions[lane], rewards[lane]))
        index = following
        for lane in np.flatnonzero(terminated):
            states, taken, paid = zip(*steps[lane])
            table.learn(np.array(states), np.array(taken), np.array(paid), args)
            returns.append(sum(paid))
            steps[lane] = []
        training.count(args.lanes)
        if len(returns) >= LOGGED:
            training.note(**{"return": mean(returns), "exploration": share})
            returns = []
        if terminated.any():
            index, _ = env.reset(options={"reset_mask": terminated})
    return training.finish(table, network=table)


if __name__ == "__main__":
    print(report(train(parse(QArguments, __doc__))))
