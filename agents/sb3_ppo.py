"""Stable-Baselines3's own PPO, unchanged, on the features id.

The KL is paid by ``KLCallback`` from the rollout's log-probs; gamma is 1, there is no entropy bonus, and
advantages are not normalised. The policy's logits are log pi0(.|s) plus a residual network that is zero at
first: on exact tasks log pi0 is part of the features, on neural tasks it is the reference's unembedding,
frozen, of the hidden state that the features are. That state and the time are all that the residual sees of
a text; ``agents.ppo`` knows its tokens, which is why it goes further.
Source: Raffin et al. 2021, Stable-Baselines3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from agents.networks.heads import perceptron
from agents.networks.residual import ResidualPolicy
from agents.run import Arguments, Run, learning_rate, mean, parse, prepare, report, settings_of
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy
from klrl_envs.reference.protocol import NeuralReference
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task


@dataclass
class SB3Arguments(Arguments):
    """SB3's PPO. What is None depends on the kind of task: see ``DEFAULTS``."""

    env_id: str = "klrl/GridNavigation-v0"
    """the environment; its features id is what is trained on"""
    lanes: int = 256
    """episodes side by side"""
    steps: int | None = None
    """tokens a lane and update"""
    minibatch: int | None = None
    """tokens a step of the optimizer"""
    epochs: int | None = None
    """passes over a rollout"""
    rate: float | None = None
    """Adam's learning rate at its peak"""
    gae_lambda: float | None = None
    """of generalised advantage estimation"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""


DEFAULTS: dict[str, dict[str, Any]] = {
    "exact": {"steps": 24, "minibatch": 1024, "epochs": 4, "rate": 2e-3, "gae_lambda": 0.95},
    "neural": {"steps": 24, "minibatch": 1024, "epochs": 2, "rate": 5e-4, "gae_lambda": 0.98},
}


Networks = Callable[[], tuple[nn.Module, nn.Module]]


class PassThrough(nn.Module):
    """What SB3 calls the extractor: hands the features on, as the two networks read them whole."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.latent_dim_pi = self.latent_dim_vf = size

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return features, features

    def forward_actor(self, features: Tensor) -> Tensor:
        """The features."""
        return features

    def forward_critic(self, features: Tensor) -> Tensor:
        """The features."""
        return features


class ResidualActorCriticPolicy(ActorCriticPolicy):
    """SB3's policy with networks of one's own from features to logits and to values [B, 1].

    Args:
        networks: makes the two.
    """

    def __init__(
        self, *args: Any, networks: Callable[[], tuple[nn.Module, nn.Module]], **kwargs: Any
    ) -> None:
        self._networks = networks
        super().__init__(*args, ortho_init=False, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = PassThrough(self.features_dim)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        self._build_mlp_extractor()
        self.action_net, self.value_net = self._networks()
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer_class: Any = self.optimizer_class
        self.optimizer = optimizer_class(trained, lr=lr_schedule(1), **self.optimizer_kwargs)


class ExactLogits(nn.Module):
    """Logits [B, V] of a ``ResidualPolicy``, whose weights it owns, the critic's too."""

    def __init__(self, policy: ResidualPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, features: Tensor) -> Tensor:
        return self.policy.logits(features)


class ExactValue(nn.Module):
    """The value [B, 1], in units of reward, of a ``ResidualPolicy`` that another module owns."""

    def __init__(self, policy: ResidualPolicy) -> None:
        super().__init__()
        self._owned_elsewhere = (policy,)

    def forward(self, features: Tensor) -> Tensor:
        (policy,) = self._owned_elsewhere
        with torch.no_grad():
            total = policy.logits(features).logsumexp(dim=-1, keepdim=True)
        return policy.task.kl_coef * (total + policy.correction(policy.encode(features)))


class HiddenStateLogits(nn.Module):
    """Logits [B, V] of features [B, width + 1]: pi0's unembedding of the hidden state plus a residual."""

    unembedding: Tensor

    def __init__(self, reference: NeuralReference, hidden: int = 256) -> None:
        super().__init__()
        self.register_buffer("unembedding", torch.tensor(reference.unembedding()), persistent=False)
        self.residual = perceptron(reference.width + 1, hidden, reference.width)

    def forward(self, features: Tensor) -> Tensor:
        return (features[:, :-1] + self.residual(features)) @ self.unembedding.T


def networks_of(task: Task) -> tuple[nn.Module, nn.Module]:
    """The actor and the critic that fit a task."""
    if isinstance(task, AutomatonTask):
        policy = ResidualPolicy(task)
        return ExactLogits(policy), ExactValue(policy)
    reference = cast(NeuralReference, task.reference)
    low, high = task.reward_range
    return HiddenStateLogits(reference), perceptron(reference.width + 1, 256, 1, (low + high) / 2)


class Progress(BaseCallback):
    """Counts tokens and notes each rollout in the run's files."""

    def __init__(self, run: Run, penalty: KLCallback) -> None:
        super().__init__()
        self._run = run
        self._penalty = penalty
        self._returns: list[float] = []
        self._nats: list[float] = []

    def _on_step(self) -> bool:
        self._run.step(self.training_env.num_envs)
        for info in self.locals["infos"]:
            if "episode" in info:
                self._returns.append(info["episode"]["r"])
        self._nats.extend(self._penalty.ended)
        return True

    def _on_rollout_end(self) -> None:
        ended = [info for info in self.locals["infos"] if "episode" in info]
        texts = [info["text"] for info in ended]
        self._run.record(texts, [info["episode"]["r"] for info in ended], self._penalty.ended, {})
        reward, nats = mean(self._returns), mean(self._nats)
        self._run.step(0, objective=reward - self._run.task.kl_coef * nats, reward=reward, kl=nats)
        self._returns, self._nats = [], []


def train(args: SB3Arguments) -> float | None:
    """Learn inside the token budget and evaluate; returns the score."""
    device = prepare(args)
    run = Run(args, "sb3_ppo")
    settings = settings_of(args, run.row.tags, DEFAULTS)
    env = SB3VecEnv(run.row.gym_features_id, num_envs=args.lanes, **args.env_kwargs)
    kl_coef = run.task.kl_coef
    model = PPO(
        ResidualActorCriticPolicy,
        env,
        learning_rate=lambda left: learning_rate(settings["rate"], 1 - left, args.warm_up),
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
        policy_kwargs={"networks": partial(networks_of, run.task)},
        seed=args.seed,
        device=device,
    )
    torch.manual_seed(args.seed)
    rollout = settings["steps"] * args.lanes
    updates = max(run.budget // rollout, 1)
    penalty = KLCallback()
    model.learn(updates * rollout, callback=CallbackList([penalty, Progress(run, penalty)]))
    model.policy.to("cpu")
    evaluation = run.finish(SB3Policy(model), features=True, weights=model.policy.state_dict())
    print(report(evaluation))
    return evaluation.score and evaluation.score.estimate


if __name__ == "__main__":
    train(parse(SB3Arguments, __doc__, DEFAULTS))
