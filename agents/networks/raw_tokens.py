"""The policy and the critic on raw tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import Engine, Task
from klrl_envs.networks.raw_tokens import RawTokens, Reader, Reading, initial_change


class RawTokensPolicy(RawTokens, PolicyNetwork):
    """``RawTokens`` and a critic, a reader of its own.

    Its values are added to log sum exp(logits) plus the present KL, as in ``ResidualPolicy``. Where the task
    names an initial policy, the inputs [..., D] hold log of it less log pi0, and are empty otherwise.

    Args:
        task: one whose plain id shows tokens.
        critic: whether there is one.
        size: of the embeddings.
        width: of the recurrent state and of the head's hidden layers.
    """

    observes: ClassVar = "raw tokens, time"
    trains: ClassVar = "a recurrent network beside pi0"

    def __init__(self, task: Task, *, critic: bool = True, size: int = 64, width: int = 128) -> None:
        super().__init__(task, size, width)
        self.critic = Reader(task, size, width, 1) if critic else None

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.actor.parameters())

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [] if self.critic is None else list(self.critic.parameters())

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        return residual_scores(trajectories, index, self.residual(trajectories, index))

    def residual(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """Logits less log pi0 [M, V] of the M steps that the episodes ``index`` [n] took, in order."""
        mask = trajectories.mask[index]
        residual = self.read(self.actor, trajectories, index)[mask]
        if self.task.exact is not None and self.task.exact.initial_policy is not None:
            residual = residual + trajectories.inputs[index][mask]
        return residual

    @torch.no_grad()
    def softened(self, trajectories: Trajectories) -> Trajectories:
        """See ``PolicyNetwork``: the critic is added to log sum exp of the logits alone."""
        mask = trajectories.mask
        every = torch.arange(len(mask), device=mask.device)
        levels = (trajectories.rows[mask] + self.residual(trajectories, every)).logsumexp(dim=-1)
        return replace(trajectories, base=torch.zeros_like(trajectories.base).masked_scatter(mask, levels))

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        assert self.critic is not None
        return trajectories.base[index] + self.read(self.critic, trajectories, index).squeeze(-1)

    def read(self, reader: Reader, trajectories: Trajectories, index: Tensor) -> Tensor:
        """A reader's outputs [n, T, ...] before each step of the episodes ``index`` [n]."""
        before = trajectories.before(index)
        known = reader.read(trajectories.tokens[index])
        return reader(known.gather(1, before[..., None].expand(-1, -1, known.shape[-1])), before)

    @torch.no_grad()
    def write(
        self,
        engine: Engine,
        prompts: NDArray[np.int64],
        generator: torch.Generator,
        given: NDArray[np.int64] | None = None,
        greedy: bool = False,
        by_reference: NDArray[np.bool_] | None = None,
    ) -> Trajectories:
        """See ``PolicyNetwork``."""
        device = generator.device
        writer = Writer(engine, prompts, device, given, greedy, by_reference)
        reading = self._reading(engine, device)
        while not engine.done.all():
            reference = writer.reference_rows()
            going = torch.as_tensor(writer.lanes, device=device)
            change = initial_change(self.task, engine.reference_lanes, engine.lanes, device)
            change = None if change is None else change[going]
            residual = reading.outputs()[going]
            residual = residual if change is None else residual + change
            inputs = reference[:, :0] if change is None else change
            reading.append(writer.step(inputs, reference, residual, None, generator))
            if engine.environment_tokens is not None and (engine.environment_tokens != self.task.pad).any():
                reading = self._reading(engine, device)  # the task wrote on in some of the texts
        return writer.trajectories()

    def _reading(self, engine: Engine, device: torch.device) -> Reading:
        """What the actor knows of an engine's texts."""
        return Reading(self.actor, torch.as_tensor(engine.tokens.copy(), device=device), engine.length)
