"""Action values as agents learn them: the policies of ``klrl_envs.networks.q_values``, and what they say."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.heads import TextPolicy
from agents.networks.residual import ResidualPolicy, visited_by
from agents.networks.trajectories import Trajectories
from klrl_envs import Engine, Task
from klrl_envs.networks.evidence import after_none
from klrl_envs.networks.q_values import QHeads, QResidual


class QPolicy(Protocol):
    """What the two kinds have in common, beside what every ``PolicyNetwork`` has."""

    support: Tensor

    def actor_weights(self) -> list[nn.Parameter]:
        """What is trained."""
        ...

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
        ...

    def taken(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """The numbers [M, K] of the tokens that the episodes ``index`` [n] took, in order of steps."""
        ...

    def soft_values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """V / kl_coef = log S_a pi0 exp(Q / kl_coef) [n, T], nats, zero after the end, without gradient."""
        ...


class QResidualPolicy(ResidualPolicy, QResidual):
    """Action values of exact tasks."""

    actor: Any

    @property
    def support(self) -> Tensor:
        """Of the atoms, [K]."""
        return self.actor.support

    def taken(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``QPolicy``; where the policy starts elsewhere than at pi0, Q has what is kept of that."""
        visited, mask = visited_by(trajectories), trajectories.mask[index]
        used, place = torch.unique(visited.state[index][mask], return_inverse=True)
        actions = trajectories.actions[index][mask]
        numbers = self.actor.taken(visited.inputs[used], place, actions)
        if not self.starts_elsewhere:
            return numbers
        change = self.tables_on(mask.device).change
        started = change[visited.context[index][mask] % len(change), actions].float()
        return numbers + self.kept * started[:, None]

    @torch.no_grad()
    def soft_values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``QPolicy``."""
        return self.scores_and_levels(trajectories, index)[2]


class QTextPolicy(TextPolicy, QHeads):
    """Action values of neural tasks."""

    def taken(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``QPolicy``."""
        mask = trajectories.mask[index]
        return QHeads.taken(self, self.read(trajectories, index), trajectories.actions[index][mask])

    @torch.no_grad()
    def soft_values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``QPolicy``."""
        mask = trajectories.mask[index]
        last = after_none(trajectories.tokens[index]).gather(1, trajectories.before(index))[mask]
        residual = self.residual(self.read(trajectories, index), last)
        levels = (trajectories.taken(trajectories.rows, index) + residual).logsumexp(dim=-1)
        return torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, levels)


def make_q_network(task: Task, hidden: str, atoms: int = 1) -> QResidualPolicy | QTextPolicy:
    """The action values that fit a task.

    Args:
        task: what is played.
        hidden: widths of the three hidden layers, such as "768-512-256".
        atoms: 1 for values, more for distributions.

    Raises:
        ValueError: not three widths.
    """
    widths = [int(width) for width in hidden.split("-") if width.isdecimal()]
    if len(widths) != 3 or min(widths) < 1 or "-".join(map(str, widths)) != hidden:
        raise ValueError(f"hidden must be three widths of layers, such as 768-512-256, got {hidden!r}")
    sizes = {"second": widths[1], "third": widths[2], "atoms": atoms}
    if task.exact is not None:
        return QResidualPolicy(task.exact, widths[0], **sizes)
    return QTextPolicy(task, critic=False, width=widths[0], **sizes)
