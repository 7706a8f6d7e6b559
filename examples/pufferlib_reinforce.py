"""REINFORCE on GridNavigation-v0 through PufferLib's emulation, with the KL in the rewards.

pip install cython setuptools && pip install --no-deps --no-build-isolation gym==0.23.1 gym-notices
pip install --no-deps --no-build-isolation pufferlib==1.0.1 shimmy==2.0.1 pettingzoo==1.24.1
python -m examples.pufferlib_reinforce
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pufferlib.vector
import torch
from pufferlib.emulation import GymnasiumPufferEnv
from torch import Tensor, nn

from examples.common import ENV_ID, KL_COEF, LANES, main
from klrl_envs.policies import TorchPolicy
from klrl_envs.wrappers import KLReward


def loss_of(env: Any, network: nn.Module, seed: int) -> tuple[Tensor, int]:
    """REINFORCE's loss on an episode in each lane, and the steps that it took, over all lanes."""
    observations, _ = env.reset(seed)
    alive, steps = np.ones(LANES, dtype=bool), []
    while alive.any():
        rows = network(torch.as_tensor(observations.copy())).log_softmax(-1)
        tokens = torch.multinomial(rows.detach().exp(), 1)
        observations, rewards, terminated, _, _ = env.step(tokens[:, 0].numpy())
        taken = rows.gather(1, tokens)[:, 0]
        steps.append((taken, torch.as_tensor(rewards.copy()), torch.as_tensor(alive.copy())))
        alive &= ~terminated
    taken, rewards, mask = (torch.stack(parts) for parts in zip(*steps))
    to_go = (rewards * mask / KL_COEF).flip(0).cumsum(0).flip(0)
    advantage = (to_go - to_go.mean(dim=1, keepdim=True)) * mask
    return -(advantage * taken).sum() / LANES, LANES * len(steps)


def train(tokens: int, seed: int) -> TorchPolicy:
    """What the policy has learnt from so many tokens."""
    torch.manual_seed(seed)
    plain: Any = gym.make(ENV_ID)
    size, vocab = plain.observation_space.shape[0], int(plain.action_space.n)
    network = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, vocab))
    policy = TorchPolicy(network)

    def emulated() -> GymnasiumPufferEnv:
        return GymnasiumPufferEnv(KLReward(gym.make(ENV_ID), KL_COEF, policy.log_probs))

    env: Any = pufferlib.vector.make(emulated, num_envs=LANES)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    written = 0
    while written < tokens:
        loss, count = loss_of(env, network, seed + written)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        written += count
    return policy


if __name__ == "__main__":
    main(train, __doc__)
