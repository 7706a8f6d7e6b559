"""What a network is to its file: sizes, tensors, and the policy that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from numpy.typing import NDArray

from klrl_envs.policies import PolicyObject
from klrl_envs.tasks.base import Task

Spec = tuple[str, tuple[int, ...]]
"""A tensor's type as safetensors names it, and its shape."""


class Network(Protocol):
    """A policy on a task, as numbers.

    Attributes:
        kind: what files call it.
        largest: the sizes that it has, each with the largest that a file may ask for.
        task: whose rows it gives.
    """

    kind: ClassVar[str]
    largest: ClassVar[Mapping[str, int]]

    @property
    def task(self) -> Task: ...

    def sizes(self) -> dict[str, int]:
        """Its own, under the names in ``largest``."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Its weights by name; with those that only a training needs, which files leave out."""
        ...

    def for_evaluation(self, task: Task) -> tuple[PolicyObject, bool]:
        """This policy as ``klrl_envs.evaluate`` takes it, and whether it reads the features id.

        Its weights are moved to the task's device.

        Args:
            task: on the evaluation prompts.
        """
        ...

    @classmethod
    def demanded(cls, task: Task, sizes: Mapping[str, int]) -> dict[str, Spec]:
        """What a file must hold, by name, found without allocating it.

        Raises:
            ValueError: the network does not fit the task.
        """
        ...

    @classmethod
    def filled(cls, task: Task, sizes: Mapping[str, int], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """The network with these weights, which are as demanded."""
        ...
