"""The policy and the critic of neural tasks: two heads on the reference, whose weights stay as they are."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import Engine, Task
from klrl_envs.networks.evidence import after_none
from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.text_heads import Reading, TextHeads
from klrl_envs.reference.device import features_of


class TextPolicy(TextHeads, PolicyNetwork):
    """Neural tasks: ``TextHeads`` and a value head on the same.

    The critic alone learns the evidence, by regression, and the policy draws on it: what the reward likes is
    learnt once. (Without a critic the policy's own gradient teaches it, of tokens only.) Nothing of pi0 is
    trained or run twice, so that learning costs little more than writing.

    Args:
        task: a neural task.
        critic: whether there is one.
        size: of the evidence's embeddings.
        width: of the heads' two hidden layers.
        **sizes: others, of a network that has them.
    """

    observes: ClassVar = "pi0's hidden state, sums over the tokens, time"

    def __init__(
        self, task: Task, *, critic: bool = True, size: int = 64, width: int = 256, **sizes: Any
    ) -> None:
        super().__init__(task, size, width, pairs=int(critic), **sizes)
        self.critic = perceptron(self.inputs, width, 1) if critic else None
        self.middle = sum(task.reward_range) / 2 / task.kl_coef

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [*self.actor.parameters(), *(self.evidence.parameters() if self.critic is None else ())]

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``; the pairs, whose gradient is sparse, stand last."""
        return [] if self.critic is None else [*self.critic.parameters(), *self.evidence.parameters()]

    def learnt_keys(self) -> Tensor:
        """See ``TextHeads``; with a critic, which learns them, without gradient."""
        return super().learnt_keys() if self.critic is None else super().learnt_keys().detach()

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        mask = trajectories.mask[index]
        inputs = self.read(trajectories, index)
        inputs = inputs if self.critic is None else inputs.detach()
        last = after_none(trajectories.tokens[index]).gather(1, trajectories.before(index))[mask]
        return residual_scores(trajectories, index, self.residual(inputs, last))

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        assert self.critic is not None
        base = trajectories.base[index]
        found = self.critic(self.read(trajectories, index)).squeeze(-1)
        return base + torch.zeros_like(base).masked_scatter(trajectories.mask[index], found)

    @torch.no_grad()
    def level(self, returns: Tensor) -> None:
        """See ``PolicyNetwork``."""
        if self.critic is not None:
            last = cast(nn.Linear, self.critic[-1])
            last.bias.add_(returns.mean() - self.middle)

    def read(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """What both heads read [M, D] at the M steps that were taken, with the evidence as it is now."""
        episode, step = trajectories.mask[index].nonzero(as_tuple=True)
        before = trajectories.before(index)[episode, step]
        sums = self.evidence.sums(trajectories.tokens[index])[episode, before]
        return self.encode(trajectories.taken(trajectories.inputs, index), sums, before)

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
        progress = Reading(self, torch.as_tensor(engine.tokens.copy(), device=device), engine.length)
        while not engine.done.all():
            lanes = writer.lanes
            going = torch.as_tensor(lanes, device=device)
            reference = writer.reference_rows()
            hidden = features_of(engine.reference_lanes, device, lanes)
            residual = self.residual(progress.inputs(hidden, going), progress.last[going])
            # the trajectories keep the hidden state: the evidence changes while they are learnt from
            progress.append(writer.step(hidden, reference, residual, self.middle, generator))
        return writer.trajectories()
