"""TorchRL's PPO loss on GridNavigation-v0, in lanes side by side, with the KL in their rewards.

pip install 'klrl-envs[torchrl]'
python -m examples.torchrl_ppo
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs.libs.gym import GymWrapper
from torchrl.modules import MLP, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from examples.common import ENV_ID, LANES, STEPS, begin_at_reference, main, vector_env
from klrl_envs.policies import TorchPolicy

EPOCHS, MINIBATCH = 10, 256


def train(tokens: int, seed: int) -> TorchPolicy:
    """What PPO has learnt from so many tokens."""
    torch.manual_seed(seed)
    plain: Any = gym.make(ENV_ID)
    size = plain.observation_space.shape[0]
    network = begin_at_reference(MLP(size, int(plain.action_space.n), num_cells=[64, 64]))
    policy = TorchPolicy(network)
    env: Any = GymWrapper(vector_env(policy.log_probs), categorical_action_encoding=True)
    env.set_seed(seed)
    actor = ProbabilisticActor(
        TensorDictModule(network, ["observation"], ["logits"]), in_keys=["logits"],
        distribution_class=torch.distributions.Categorical, return_log_prob=True,
    )  # fmt: skip
    critic = ValueOperator(begin_at_reference(MLP(size, 1, num_cells=[64, 64]), 1.0), in_keys=["observation"])
    advantage = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
    loss_of = ClipPPOLoss(actor, critic, entropy_bonus=False, normalize_advantage=False)
    optimizer = torch.optim.Adam(loss_of.parameters(), 1e-3)
    for batch in Collector(env, actor, frames_per_batch=LANES * STEPS, total_frames=tokens):
        for _ in range(EPOCHS):
            advantage(batch)
            for rows in torch.randperm(LANES * STEPS).split(MINIBATCH):
                losses = loss_of(batch.reshape(-1)[rows])
                optimizer.zero_grad()
                (losses["loss_objective"] + losses["loss_critic"]).backward()
                torch.nn.utils.clip_grad_norm_(loss_of.parameters(), 0.5)
                optimizer.step()
    return policy


if __name__ == "__main__":
    main(train, __doc__)
