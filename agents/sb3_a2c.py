"""Stable-Baselines3's own A2C, unchanged, on the features id.

    grad J = E sum_t A_t grad log pi(a_t|s_t)

with A_t the generalised advantages of r - kl_coef (log pi - log pi0): one step of RMSprop a rollout, of a few
tokens in many lanes, and a critic that is fitted to the same returns (Mnih et al. 2016, arXiv 1602.01783;
Raffin et al. 2021, Stable-Baselines3). The KL is paid by ``KLCallback`` from the rollout's log-probs, k1
inside the return; gamma is 1, there is no entropy bonus, and advantages are not normalised. So the signal is
the objective's gradient but for the critic's error, and the fixed point is pi*, as far as the critic is right
and the network reaches.

The policy's logits are log pi0(.|s) plus a residual network that is zero at first: on exact tasks log pi0 is
part of the features, on neural tasks it is the reference's unembedding, frozen, of the hidden state that the
features are. Left out of the source: workers that step apart (its lanes step together), the entropy bonus.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from agents.arguments import Arguments, Defaults, parse, settings_of
from agents.networks.sb3 import ResidualActorCriticPolicy, networks_of
from agents.run import Training, mean, prepare, report, scheduled
from klrl_envs import Evaluation
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy
from klrl_envs.wrappers import Episode


@dataclass
class A2CArguments(Arguments):
    """SB3's A2C. What is None depends on the kind of task: see ``DEFAULTS``."""

    env_id: str = "klrl/GridNavigation-v0"
    """the environment; its features id is what is trained on"""
    lanes: int | None = None
    """episodes side by side"""
    steps: int | None = None
    """tokens per lane and update"""
    learning_rate: float | None = None
    """RMSprop's learning rate at its peak"""
    gae_lambda: float | None = None
    """of generalised advantage estimation"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""


DEFAULTS: Defaults = {
    "exact": {"lanes": 64, "steps": 8, "learning_rate": 6e-3, "gae_lambda": 0.95},
    "neural": {"lanes": 64, "steps": 24, "learning_rate": 5e-4, "gae_lambda": 0.98},
}

LOGGED = 500
"""Episodes a line of progress; rollouts are short."""


class TrainingCallback(BaseCallback):
    """Counts tokens, and notes episodes in the training's files."""

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
        if len(self._episodes) >= LOGGED:
            self.note()

    def _on_training_end(self) -> None:
        if self._episodes:
            self.note()

    def note(self) -> None:
        """Write down what has ended since the last time."""
        self._training.record(self._episodes)
        reward = mean([episode.task_reward for episode in self._episodes])
        nats = mean([episode.k1 for episode in self._episodes])
        objective = reward - self._training.task.kl_coef * nats
        self._training.note(objective=objective, reward=reward, kl=nats)
        self._episodes = []


def train(args: A2CArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "sb3_a2c")
    settings = settings_of(args, training.task, DEFAULTS)
    env = SB3VecEnv(training.row.gym_features_id, num_envs=settings["lanes"], **args.env_kwargs)
    kl_coef = training.task.kl_coef
    model = A2C(
        ResidualActorCriticPolicy,
        env,
        learning_rate=lambda left: scheduled(settings["learning_rate"], 1 - left, args.warm_up),
        n_steps=settings["steps"],
        gamma=1.0,
        gae_lambda=settings["gae_lambda"],
        ent_coef=0.0,
        # the policy's loss is in units of reward and the critic's in their square: nats in both
        vf_coef=0.5 / kl_coef,
        max_grad_norm=kl_coef,
        policy_kwargs={"networks": partial(networks_of, training.task)},
        seed=args.seed,
        device=device,
    )
    torch.manual_seed(args.seed)
    rollout = settings["steps"] * settings["lanes"]
    updates = -(-training.budget // rollout)
    penalty = KLCallback()
    model.learn(updates * rollout, callback=CallbackList([penalty, TrainingCallback(training, penalty)]))
    model.policy.to("cpu")
    exact = training.task.exact is not None
    training.describe("automaton's state, time" if exact else "pi0's hidden state, time", "heads on pi0")
    network = cast(ResidualActorCriticPolicy, model.policy).network
    return training.finish(SB3Policy(model), features=True, network=network)


if __name__ == "__main__":
    print(report(train(parse(A2CArguments, __doc__, DEFAULTS))))
