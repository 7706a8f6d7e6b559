"""Tianshou's PPO on GridNavigation-v0, by its procedural interface, with the KL in the rewards.

    pip install 'klrl-envs[tianshou]'
    python -m examples.tianshou_ppo

Its trainer takes an info that only some steps have for missing values, and stops: the text of an episode,
which its last step tells, is left out here.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from examples.common import ENV_ID, KL_COEF, LANES, STEPS, main
from klrl_envs.policies import TorchPolicy
from klrl_envs.wrappers import KLReward


class WithoutText(gym.Wrapper[Any, Any, Any, Any]):
    """An episode's text is not told."""

    def step(self, action: Any) -> Any:
        """As the environment's."""
        *result, info = self.env.step(action)
        return *result, {name: value for name, value in info.items() if name != "text"}


def train(tokens: int, seed: int) -> TorchPolicy:
    """What PPO has learnt from so many tokens."""
    torch.manual_seed(seed)
    plain: Any = gym.make(ENV_ID)
    shape, vocab = plain.observation_space.shape, int(plain.action_space.n)
    actor = DiscreteActor(
        preprocess_net=Net(state_shape=shape, hidden_sizes=[64, 64]), action_shape=vocab, softmax_output=False
    )
    policy = TorchPolicy(actor, select=lambda output: output[0])
    algorithm: Any = PPO(
        policy=DiscreteActorPolicy(actor=actor, action_space=plain.action_space),
        critic=DiscreteCritic(preprocess_net=Net(state_shape=shape, hidden_sizes=[64, 64])),
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=1.0,
        ent_coef=0.0,
        advantage_normalization=False,
        max_grad_norm=0.5,
    )

    def paid_env() -> gym.Env[Any, Any]:
        return WithoutText(KLReward(gym.make(ENV_ID), KL_COEF, policy.log_probs))

    env = DummyVectorEnv([paid_env] * LANES)
    env.seed(seed)
    algorithm.run_training(
        OnPolicyTrainerParams(
            training_collector=Collector(algorithm, env, VectorReplayBuffer(LANES * STEPS, LANES)),
            max_epochs=1,
            epoch_num_steps=tokens,
            collection_step_num_env_steps=LANES * STEPS,
            update_step_num_repetitions=10,
            batch_size=256,
            show_progress=False,
            verbose=False,
        )
    )
    return policy


if __name__ == "__main__":
    main(train, __doc__)
