"""The policy and the critic of exact tasks: two small networks on the automaton's state and the time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import Engine, Task, observer_of
from klrl_envs.networks.residual import ResidualNetwork, tanh_network


class ResidualPolicy(ResidualNetwork, PolicyNetwork):
    """Exact tasks: a ``ResidualNetwork`` and a critic.

    The identity of the optimum gives the critic, in nats. With logits log pi0 + f, what is still to come is
    log sum exp(logits) + v(automaton state, time), and v = 0 at the optimum of f. The KL of the present
    step comes on top, as it is not paid yet.

    Args:
        task: an exact task.
        width: of the two hidden layers.
    """

    observes: ClassVar = "automaton's state, time"

    def __init__(self, task: Task, width: int = 128) -> None:
        super().__init__(task, width)
        self.critic = tanh_network(self.inputs, width, 1)

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.actor.parameters())

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.critic.parameters())

    def correction(self, inputs: Tensor) -> Tensor:
        """v [..., 1] of inputs [..., D]."""
        return self.critic(inputs[..., : self.inputs])

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
