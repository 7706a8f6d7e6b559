"""The policy that is a language model of its own: the reference's network with its weights moved.

All of them are the policy's, or low-rank factors beside frozen ones (LoRA; Hu et al. 2021, arXiv 2106.09685):
a linear map W becomes W + alpha / rank B A, and B is zero at first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from klrl_envs.networks.network import Spec
from klrl_envs.networks.torch_network import FLOAT32, TorchNetwork
from klrl_envs.policies import LanesPolicy
from klrl_envs.reference.decoder import DecoderWeights
from klrl_envs.reference.nano import Nano
from klrl_envs.reference.transformer import START_TOKEN, TransformerLanes, TransformerReference
from klrl_envs.tasks.base import Task

ADAPTED = ("query_key_value", "attention_out", "gate_up", "down")
"""The linear maps of a block that have factors."""


class LowRankLinear(nn.Module):
    """A frozen linear map without bias, and the factors of what is added to it.

    Args:
        frozen: W [outputs, inputs]; no file holds it.
        rank: of the factors A [rank, inputs] and B [outputs, rank].
        scale: what B A is multiplied by.
    """

    frozen: Tensor

    def __init__(self, frozen: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = frozen.shape
        self.scale = scale
        self.register_buffer("frozen", frozen, persistent=False)
        self.into = nn.Parameter(frozen.new_empty((rank, inputs)))
        self.out = nn.Parameter(frozen.new_zeros((outputs, rank)))
        nn.init.kaiming_uniform_(self.into, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:
        """The whole map [outputs, inputs]."""
        return self.frozen + self.scale * (self.out @ self.into)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.frozen) + self.scale * F.linear(F.linear(x, self.into), self.out)


class LanguageModelNetwork(TorchNetwork):
    """Neural tasks whose reference is a ``Nano``: a ``Nano`` that starts as the reference.

    Args:
        task: a neural task.
        rank: of the factors; 0 where all weights are the policy's own.
        alpha: the factors' product counts alpha / rank times; 0 with rank 0.
        device: "meta" for shapes without memory; the CPU where None.

    Attributes:
        model: the network; with a rank, its linear maps are ``LowRankLinear``.
        start_token: precedes every text.

    Raises:
        ValueError: the reference is another network or a table, or alpha does not fit rank.
    """

    kind: ClassVar = "language-model"
    largest: ClassVar = {"rank": 4096, "alpha": 65536}
    start_token: ClassVar = START_TOKEN

    def __init__(self, task: Task, rank: int = 0, alpha: int = 0, *, device: str | None = None) -> None:
        super().__init__(task, rank=rank, alpha=alpha)
        if (alpha > 0) != (rank > 0):
            raise ValueError(f"alpha must be above 0 with a rank, and 0 without, got {alpha} of rank {rank}")
        self.model = copied(nano_of(task), device)
        if rank:
            self.model.requires_grad_(False)
            for block in self.model.layers:
                for name in ADAPTED:
                    frozen = cast(nn.Linear, getattr(block, name)).weight.detach()
                    setattr(block, name, LowRankLinear(frozen, rank, alpha / rank))

    @property
    def rank(self) -> int:
        """Of the factors; 0 where all weights are the policy's own."""
        return self._sizes["rank"]

    def own_names(self) -> list[str]:
        """The names of the weights that are not the reference's."""
        return [f"model.{name}" for name, weight in self.model.named_parameters() if weight.requires_grad]

    @torch.no_grad()
    def plain(self, into: Nano | None = None) -> Nano:
        """The policy as a ``Nano`` without factors and gradients, on the same device: a copy, or ``into``."""
        if into is None:
            into = copied(self.model, None, plain=True)
        own = self.model.state_dict()
        for name, weight in into.named_parameters():
            module = self.model.get_submodule(name.removesuffix(".weight"))
            weight.copy_(module.weight if isinstance(module, LowRankLinear) else own[name])
        return into

    def for_evaluation(self, task: Task) -> tuple[LanesPolicy, bool]:
        """See ``Network``."""
        self.to("cpu").eval()
        weights = DecoderWeights.of(self.plain())
        return LanesPolicy(lambda count, length: TransformerLanes(weights, count, length), task), False

    @classmethod
    def demanded(cls, task: Task, sizes: Mapping[str, int]) -> dict[str, Spec]:
        """See ``Network``; with a rank the factors alone."""
        blank = cls._blank(task, sizes)
        weights = blank.state_dict()
        return {name: (FLOAT32, tuple(weights[name].shape)) for name in blank.own_names()}

    @classmethod
    def filled(cls, task: Task, sizes: Mapping[str, int], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """See ``Network``."""
        with cast(Any, torch.random).fork_rng(devices=[]):  # factors that are drawn here are replaced at once
            network = cls(task, sizes["rank"], sizes["alpha"])
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name in tensors:
                    weight.copy_(torch.as_tensor(tensors[name]))
        return network.eval()


def has_nano(task: Task) -> bool:
    """Whether a task's reference is a ``Nano``."""
    return isinstance(task.reference, TransformerReference)


def nano_of(task: Task) -> Nano:
    """The network of a task's reference.

    Raises:
        ValueError: it is none of this kind.
    """
    if not isinstance(task.reference, TransformerReference):
        raise ValueError(f"a language model needs a reference like nano, not {task.reference.name!r}")
    return task.reference.model


def copied(model: Nano, device: str | None, *, plain: bool = False) -> Nano:
    """A copy of a ``Nano``, with gradients; its shapes alone on the device "meta".

    Args:
        model: what is copied; with ``plain`` only its sizes are.
        device: where to; the model's where None.
        plain: leaves the weights to the caller, without gradients.
    """
    place = torch.device(device) if device is not None else model.embedding.weight.device
    with cast(Any, torch.random).fork_rng(devices=[]), place:  # what is drawn here is replaced at once
        copy = Nano(model.config)
    if place.type != "meta" and not plain:
        copy.load_state_dict(model.state_dict())
    return copy.eval().requires_grad_(not plain)
