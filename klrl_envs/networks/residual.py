"""The policy of exact tasks: a small network on the automaton's state and the time, beside log pi0."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from klrl_envs.networks.time_waves import TIME_WAVES, time_waves
from klrl_envs.networks.torch_network import TorchNetwork
from klrl_envs.policies import TorchPolicy
from klrl_envs.tasks.base import Task, require_exact


class ResidualNetwork(TorchNetwork):
    """Exact tasks: logits = log pi0(.|s) + f(automaton state, time), from the features id's observation.

    That is all that the optimum needs: its residual is the value that a token leads to, over kl_coef,
    and the n-gram context matters through pi0 alone. Only where the reward looks at the context itself
    (Topic-v0) is the best policy of this form not quite the optimum.

    Where the task names an initial policy, the logits are log pi0 + kept (log of it - log pi0) + f, ``kept``
    being 1 at first and trained with f: no f takes back what of the initial policy depends on the context,
    and the optimum keeps nothing of it. The inputs [..., D] then hold that difference, too.

    Args:
        task: an exact task.
        width: of the two hidden layers.
        device: of the weights.
    """

    kind: ClassVar = "residual"
    largest: ClassVar = {"width": 4096}

    def __init__(self, task: Task, width: int = 128, *, device: str | None = None) -> None:
        super().__init__(task, width=width)
        self.exact = exact = require_exact(task, "a residual network")
        self.features = exact.state_features.shape[1]
        self.starts_elsewhere = exact.initial_policy is not None
        self.inputs = self.features + 1 + TIME_WAVES
        self.actor = tanh_network(self.inputs, width, task.vocab_size, device=device)
        if self.starts_elsewhere:
            self.kept = nn.Parameter(torch.ones(1, device=device))

    def forward(self, observations: Tensor) -> Tensor:
        """log pi [..., V], nats, of features [..., F]."""
        return self.logits(observations).log_softmax(dim=-1)

    def logits(self, observations: Tensor) -> Tensor:
        """The logits [..., V], nats, of features [..., F]."""
        return self.reference_rows(observations) + self.residual(self.encode(observations))

    def reference_rows(self, observations: Tensor) -> Tensor:
        """log pi0 [..., V] of features [..., F]."""
        return observations[..., self.features + 1 :][..., : self.task.vocab_size]

    def residual(self, inputs: Tensor) -> Tensor:
        """What is added to log pi0 [..., V], of inputs [..., D]."""
        change = self.actor(inputs[..., : self.inputs])
        return change + self.kept * inputs[..., self.inputs :] if self.starts_elsewhere else change

    def encode(self, observations: Tensor) -> Tensor:
        """The inputs [..., D]: automaton state and time left, the time also as waves; then log of the initial
        policy less log pi0, where there is one.
        """
        left = observations[..., self.features : self.features + 1]
        parts = [observations[..., : self.features], self.encode_time(left)]
        if self.starts_elsewhere:
            parts.append(observations[..., -self.task.vocab_size :] - self.reference_rows(observations))
        return torch.cat(parts, dim=-1)

    @staticmethod
    def encode_time(left: Tensor) -> Tensor:
        """The share of the horizon that is left [..., 1], and it as waves: [..., 1 + ``TIME_WAVES``]."""
        return torch.cat((left, time_waves(left)), dim=-1)

    def for_evaluation(self, task: Task) -> tuple[TorchPolicy, bool]:
        """See ``Network``."""
        return TorchPolicy(self.to(task.device).eval(), "log_probs"), True


def tanh_network(inputs: int, width: int, outputs: int, *, device: str | None = None) -> nn.Sequential:
    """Two hidden layers, and an output that is zero at first."""
    first, middle = nn.Linear(inputs, width, device=device), nn.Linear(width, width, device=device)
    last = nn.Linear(width, outputs, device=device)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.Tanh(), middle, nn.Tanh(), last)
