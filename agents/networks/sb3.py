"""The same policies as Stable-Baselines3 trains them: networks from the features id's observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from agents.networks.residual import ResidualPolicy
from klrl_envs import NeuralReference, Task
from klrl_envs.networks.hidden_state import HiddenStateNetwork
from klrl_envs.networks.perceptron import perceptron

Networks = Callable[[], tuple[nn.Module, nn.Module]]
"""Makes the actor and the critic."""


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
    """SB3's policy with networks of one's own: from features to logits [B, V], and to values [B, 1].

    Args:
        networks: makes the two.
    """

    def __init__(self, *args: Any, networks: Networks, **kwargs: Any) -> None:
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

    @property
    def network(self) -> nn.Module:
        """The actor as ``klrl_envs.save_policy`` takes it."""
        return self.action_net.policy if isinstance(self.action_net, ExactLogits) else self.action_net


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


def networks_of(task: Task) -> tuple[nn.Module, nn.Module]:
    """The actor and the critic that fit a task."""
    if task.exact is not None:
        policy = ResidualPolicy(task.exact)
        return ExactLogits(policy), ExactValue(policy)
    reference = cast(NeuralReference, task.reference)
    low, high = task.reward_range
    return HiddenStateNetwork(task), perceptron(reference.width + 1, 256, 1, (low + high) / 2)
