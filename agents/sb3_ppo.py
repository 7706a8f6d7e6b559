"""Stable-Baselines3's own PPO, unchanged, on the features id.

The KL is paid by ``KLCallback`` from the rollout's log-probs; gamma is 1, there is no entropy bonus, and
advantages are not normalised. The policy's logits are log pi0(.|s) plus a residual network that is zero at
first: on exact tasks log pi0 is part of the features, on neural tasks it is the reference's unembedding,
frozen, of the hidden state that the features are. That state and the time are all that the residual sees of
a text; ``agents.ppo`` knows its tokens, which is why it goes further.
Source: Raffin et al. 2021, Stable-Baselines3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from agents.arguments import Arguments, Defaults, parse, settings_of
from agents.networks.sb3 import ResidualActorCriticPolicy, networks_of
from agents.run import Training, mean, prepare, report, scheduled
from klrl_envs import Evaluation
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy
from klrl_envs.wrappers import Episode


@dataclass
class SB3Arguments(Arguments):
    """SB3's PPO. What is None depends on the kind of task: see ``DEFAULTS``."""

    env_id: str = "klrl/GridNavigation-v0"
    """the environment; its features id is what is trained on"""
    lanes: int = 256
    """episodes side by side"""
    steps: int | None = None
    """tokens per lane and update"""
    minibatch: int | None = None
    """tokens per step of the optimizer"""
    epochs: int | None = None
    """passes over a rollout"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    gae_lambda: float | None = None
    """of generalised advantage estimation"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""


DEFAULTS: Defaults = {
    "exact": {"steps": 24, "minibatch": 1024, "epochs": 4, "learning_rate": 2e-3, "gae_lambda": 0.95},
    "neural": {"steps": 24, "minibatch": 1024, "epochs": 2, "learning_rate": 5e-4, "gae_lambda": 0.98},
}


class TrainingCallback(BaseCallback):
    """Counts tokens, and notes each rollout in the training's files."""

    def __init__(self, training: Training, penalty: KLCallback) -> None:
        super().__init__()
        self._training = training
        self._penalty = penalty
        self._episodes: list[Episode] = []

    def _on_step(self) -> bool:
        self._training.count(self.training_env.num_envs)
        self._episodes.extend(self._penalty.ended)
        return True

    def _on_rollout_end(self) -> None:
        self._training.record(self._episodes)
        reward = mean([episode.task_reward for episode in self._episodes])
        nats = mean([episode.k1 for episode in self._episodes])
        objective = reward - self._training.task.kl_coef * nats
        self._training.note(objective=objective, reward=reward, kl=nats)
        self._episodes = []


def train(args: SB3Arguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "sb3_ppo")
    settings = settings_of(args, training.task, DEFAULTS)
    env = SB3VecEnv(training.row.gym_features_id, num_envs=args.lanes, **args.env_kwargs)
    kl_coef = training.task.kl_coef
    model = PPO(
        ResidualActorCriticPolicy,
        env,
        learning_rate=lambda left: scheduled(settings["learning_rate"], 1 - left, args.warm_up),
        n_steps=settings["steps"],
        batch_size=settings["minibatch"],
        n_epochs=settings["epochs"],
        gamma=1.0,
        gae_lambda=settings["gae_lambda"],
        normalize_advantage=False,
        ent_coef=0.0,
        # the policy's loss is in units of reward and the critic's in their square: nats in both
        vf_coef=0.5 / kl_coef,
        max_grad_norm=kl_coef,
        policy_kwargs={"networks": partial(networks_of, training.task)},
        seed=args.seed,
        device=device,
    )
    torch.manual_seed(args.seed)
    rollout = settings["steps"] * args.lanes
    updates = max(training.budget // rollout, 1)
    penalty = KLCallback()
    model.learn(updates * rollout, callback=CallbackList([penalty, TrainingCallback(training, penalty)]))
    model.policy.to("cpu")
    exact = training.task.exact is not None
    training.describe("automaton's state, time" if exact else "pi0's hidden state, time", "heads on pi0")
    network = cast(ResidualActorCriticPolicy, model.policy).network
    return training.finish(SB3Policy(model), features=True, network=network)


if __name__ == "__main__":
    print(report(train(parse(SB3Arguments, __doc__, DEFAULTS))))
