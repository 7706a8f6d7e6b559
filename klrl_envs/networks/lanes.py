"""A residual on log pi0 along texts that grow together, as ``LanesPolicy`` takes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from klrl_envs.reference.device import rows_of
from klrl_envs.reference.protocol import ReferenceLanes
from klrl_envs.tasks.base import Task


class Growing(Protocol):
    """What a network knows of N texts so far."""

    def append(self, tokens: Tensor, /) -> None:
        """Go on by tokens [N]."""
        ...


Known = TypeVar("Known", bound=Growing)


class ResidualLanes(ABC, Generic[Known]):
    """N texts, what the reference and what the network knows of each.

    Args:
        task: whose reference the residual is added to.
        count: N.
        max_length: of the texts in tokens.

    Attributes:
        device: of all tensors, the network's weights among them.
    """

    known: Known

    def __init__(self, task: Task, count: int, max_length: int) -> None:
        self.reference: ReferenceLanes = task.reference.lanes(count, max_length)
        self.device = torch.device(task.device)
        self._count = count

    @abstractmethod
    def read(self, tokens: Tensor, lengths: NDArray[np.int64]) -> Known:
        """What the network knows of texts [N, L], of which lengths [N] count."""

    @abstractmethod
    def residual(self) -> Tensor:
        """Logits less log pi0 [N, V] at the end of the texts."""

    @torch.no_grad()
    def reset(self, lanes: NDArray[np.int64], tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Put all lanes at the texts tokens [N, L], of which lengths [N] count."""
        if len(lanes) != self._count:
            raise ValueError(f"lanes must be all {self._count}, got {len(lanes)}")
        self.reference.reset(lanes, tokens, lengths)
        self.known = self.read(torch.as_tensor(tokens, device=self.device), lengths)

    @torch.no_grad()
    def step(self, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> None:
        """Append tokens [N] to all lanes."""
        self.reference.step(tokens, active)
        self.known.append(torch.as_tensor(tokens, device=self.device))

    @torch.no_grad()
    def log_probs(self) -> NDArray[np.float32]:
        """log pi(.|s) [N, V] in nats."""
        reference = rows_of(self.reference, self.device)
        return (reference + self.residual()).log_softmax(dim=-1).cpu().numpy()
