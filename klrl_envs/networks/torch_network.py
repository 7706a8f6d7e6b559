"""A network of torch: made without memory to see what it demands, and then given its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from torch import nn

from klrl_envs.networks.network import Spec
from klrl_envs.policies import PolicyObject
from klrl_envs.tasks.base import Task

FLOAT32 = "F32"


class TorchNetwork(nn.Module, ABC):
    """What ``Network`` asks for, of a torch module in float32."""

    kind: ClassVar[str]
    largest: ClassVar[Mapping[str, int]]

    def __init__(self, task: Task, **sizes: int) -> None:
        super().__init__()
        self.task = task
        self._sizes = sizes

    def sizes(self) -> dict[str, int]:
        """See ``Network``."""
        return dict(self._sizes)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """See ``Network``."""
        return {name: weight.detach().cpu().numpy() for name, weight in self.state_dict().items()}

    @abstractmethod
    def for_evaluation(self, task: Task) -> tuple[PolicyObject, bool]:
        """See ``Network``."""

    @classmethod
    def demanded(cls, task: Task, sizes: Mapping[str, int]) -> dict[str, Spec]:
        """See ``Network``."""
        weights = cls._blank(task, sizes).state_dict()
        return {name: (FLOAT32, tuple(weight.shape)) for name, weight in weights.items()}

    @classmethod
    def filled(cls, task: Task, sizes: Mapping[str, int], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """See ``Network``."""
        network = cls._blank(task, sizes)
        weights = {name: torch.as_tensor(array) for name, array in tensors.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()

    @classmethod
    def _blank(cls, task: Task, sizes: Mapping[str, int]) -> Self:
        """A network whose weights have shapes and no memory; nothing is drawn."""
        made: Any = cls
        return made(task, **sizes, device="meta")
