"""AgileRL's PPO on GridNavigation-v0, one agent of its population, with the KL in the rewards.

pip install 'klrl-envs[agilerl]'
python -m examples.agilerl_ppo
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from agilerl.algorithms import PPO
from agilerl.rollouts import collect_rollouts

from examples.common import LANES, STEPS, main, vector_env
from klrl_envs.policies import CallablePolicy


def train(tokens: int, seed: int) -> CallablePolicy:
    """What PPO has learnt from so many tokens."""
    torch.manual_seed(seed)

    def log_probs(features: Any) -> Any:
        """The rows, by the agent's own evaluation of each token."""
        with torch.no_grad():
            columns = [
                agent.evaluate_actions(features, torch.full((len(features),), token))[0]
                for token in range(env.single_action_space.n)
            ]
        return np.stack([column.numpy() for column in columns], axis=1)

    env = vector_env(log_probs)
    env.reset(seed=seed)
    agent: Any = PPO(
        env.single_observation_space, env.single_action_space, num_envs=LANES, learn_step=LANES * STEPS,
        batch_size=256, update_epochs=10, lr=1e-3, gamma=1.0, ent_coef=0.0, share_encoders=False,
    )  # fmt: skip
    ongoing: list[Any] = [None] * 4
    for _ in range(max(tokens // (LANES * STEPS), 1)):
        names = ("last_obs", "last_done", "last_scores", "last_info")
        _, *ongoing = collect_rollouts(agent, env, STEPS, **dict(zip(names, ongoing)))
        agent.learn()
    return CallablePolicy(log_probs)


if __name__ == "__main__":
    main(train, __doc__)
