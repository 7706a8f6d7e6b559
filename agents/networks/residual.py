"""The policy and the critic of exact tasks: two small networks on the automaton's state and the time."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import AutomatonTask, Engine, Task, observer_of
from klrl_envs.policies import TorchPolicy

TIME_WAVES = 8


class ResidualPolicy(PolicyNetwork):
    """Exact tasks: logits = log pi0(.|s) + f(automaton state, time), from the features id's observation.

    That is all that the optimum needs: its residual is the value that a token leads to, over kl_coef,
    and the n-gram context matters through pi0 alone. Only where the reward looks at the context itself
    (Topic-v0) is the best policy of this form not quite the optimum.

    The same identity gives the critic, in nats. With logits log pi0 + f, what is still to come is
    log sum exp(logits) + v(automaton state, time), and v = 0 at the optimum of f. The KL of the present
    step comes on top, as it is not paid yet.

    Where the task names an initial policy, f is log of it less log pi0 at first; the inputs [..., D] then
    hold that difference, too.

    Args:
        task: an exact task.
        width: of the two hidden layers.
    """

    def __init__(self, task: AutomatonTask, width: int = 128) -> None:
        super().__init__()
        self.task = task
        self.features = task.state_features.shape[1]
        self.starts_elsewhere = task.initial_policy is not None
        self.inputs = inputs = self.features + 1 + TIME_WAVES
        self.actor = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, task.vocab_size),
        )  # fmt: skip
        self.critic = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )
        for network in (self.actor, self.critic):
            nn.init.zeros_(cast(nn.Linear, network[-1]).weight)
            nn.init.zeros_(cast(nn.Linear, network[-1]).bias)

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.actor.parameters())

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.critic.parameters())

    def forward(self, observations: Tensor) -> Tensor:
        """log pi [..., V], nats, of features [..., F]."""
        return self.logits(observations).log_softmax(dim=-1)

    def logits(self, observations: Tensor) -> Tensor:
        """log pi0 + f [..., V], nats, of features [..., F]."""
        return self.reference_rows(observations) + self.residual(self.encode(observations))

    def reference_rows(self, observations: Tensor) -> Tensor:
        """log pi0 [..., V] of features [..., F]."""
        return observations[..., self.features + 1 :][..., : self.task.vocab_size]

    def residual(self, inputs: Tensor) -> Tensor:
        """f [..., V] of inputs [..., D]."""
        change = self.actor(inputs[..., : self.inputs])
        return change + inputs[..., self.inputs :] if self.starts_elsewhere else change

    def correction(self, inputs: Tensor) -> Tensor:
        """v [..., 1] of inputs [..., D]."""
        return self.critic(inputs[..., : self.inputs])

    def encode(self, observations: Tensor) -> Tensor:
        """The inputs [..., D]: automaton state and time left, the time also as waves; then f at first, where
        that is not zero.
        """
        state = observations[..., : self.features + 1]
        waves = torch.arange(1, TIME_WAVES + 1, device=state.device) * math.pi
        parts = [state, torch.cos(state[..., -1:] * waves)]
        if self.starts_elsewhere:
            parts.append(observations[..., -self.task.vocab_size :] - self.reference_rows(observations))
        return torch.cat(parts, dim=-1)

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        inputs = trajectories.inputs[index][trajectories.mask[index]]
        return residual_scores(trajectories, index, self.residual(inputs))

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        return trajectories.base[index] + self.correction(trajectories.inputs[index]).squeeze(-1)

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Trajectories:
        """See ``PolicyNetwork``."""
        writer = Writer(engine, prompts, generator.device)
        observer = observer_of(self.task, features=True)
        while not engine.done.all():
            observations = torch.from_numpy(observer.observe(engine)).to(generator.device)
            inputs, reference = self.encode(observations), self.reference_rows(observations)
            writer.step(inputs, reference, self.residual(inputs), None, generator)
        return writer.trajectories()

    def for_evaluation(self, task: Task) -> tuple[Any, bool]:
        """See ``PolicyNetwork``."""
        return TorchPolicy(self.to("cpu").eval(), "log_probs"), True
