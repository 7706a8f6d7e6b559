"""The policy of neural tasks on the features id: pi0's last layer on its hidden state, moved a little."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.torch_network import TorchNetwork
from klrl_envs.policies import TorchPolicy
from klrl_envs.reference.protocol import neural
from klrl_envs.tasks.base import Task


class HiddenStateNetwork(TorchNetwork):
    """Logits [B, V] of features [B, hidden + 1]: pi0's unembedding of the hidden state plus a residual.

    Args:
        task: a neural task.
        width: of the residual's two hidden layers.
        device: of the weights.
    """

    kind: ClassVar = "hidden-state"
    largest: ClassVar = {"width": 4096}

    unembedding: Tensor

    def __init__(self, task: Task, width: int = 256, *, device: str | None = None) -> None:
        super().__init__(task, width=width)
        reference = neural(task.reference)
        self.register_buffer("unembedding", torch.tensor(reference.unembedding()), persistent=False)
        self.residual = perceptron(reference.width + 1, width, reference.width, device=device)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, V] of features."""
        return (features[:, :-1] + self.residual(features)) @ self.unembedding.T

    def for_evaluation(self, task: Task) -> tuple[TorchPolicy, bool]:
        """See ``Network``."""
        return TorchPolicy(self.to(task.device).eval(), "logits"), True
