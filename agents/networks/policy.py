"""What an algorithm trains: a policy with or without a critic, and the average of its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.trajectories import Trajectories, make_engine
from klrl_envs import Engine, Task, save_policy


class PolicyNetwork(nn.Module, ABC):
    """A policy that starts at the reference: its logits are log pi0(.|s) plus a residual, zero at first.

    Where the task names an initial policy, it starts there, and the residual is the difference at first.

    Attributes:
        observes, trains: what it is shown and which weights move, in a few words.
    """

    observes: ClassVar[str]
    trains: str = "heads on pi0"

    @abstractmethod
    def actor_weights(self) -> list[nn.Parameter]:
        """What the policy's gradient trains."""

    @abstractmethod
    def critic_weights(self) -> list[nn.Parameter]:
        """What the critic's regression trains; empty without a critic."""

    @abstractmethod
    def write(
        self,
        engine: Engine,
        prompts: NDArray[np.int64],
        generator: torch.Generator,
        given: NDArray[np.int64] | None = None,
        greedy: bool = False,
        by_reference: NDArray[np.bool_] | None = None,
    ) -> Trajectories:
        """An episode in each lane [N] of an engine, from the given prompts [N].

        Args:
            engine: its lanes are put at the prompts.
            prompts: by their numbers.
            generator: draws.
            given: int64 [N, T], tokens that are written and scored in place of any that are drawn: another
                policy's. What stands after the end of a text does not matter.
            greedy: takes the likeliest token each time in place of drawing one.
            by_reference: bool [N, T], steps at which what the policy starts from draws in its place; their
                scores are those of what drew.

        Raises:
            ValueError: ``by_reference`` where the policy is a language model of its own, beside which none is
                run as it writes.
        """

    @abstractmethod
    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """log pi of the tokens taken and exact KL, each [n, T], nats, of the episodes ``index`` [n]."""

    @abstractmethod
    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """What the critic expects still to come [n, T], nats, of the episodes ``index`` [n]."""

    def level(self, returns: Tensor) -> None:
        """Have a critic that knows nothing yet begin at the mean of first returns [N], nats.

        Else the first advantages are its own error alone. Those that begin near the truth do nothing here.
        """

    def softened(self, trajectories: Trajectories) -> Trajectories:
        """Episodes, old ones too, of which ``values`` are soft values of the policy as it is now.

        A soft value counts the KL of the present step, so that log pi - log pi0 + V is Q of the token taken.
        A critic that is added to nothing but a constant learns whichever it is asked for.
        """
        return trajectories

    @abstractmethod
    def for_evaluation(self, task: Task) -> tuple[Any, bool]:
        """This policy as ``klrl_envs.evaluate`` takes it, and whether it reads the features id.

        Its weights are moved to the task's device.

        Args:
            task: on the evaluation prompts.
        """

    def engine(self, task: Task, lanes: int, seed: int) -> Engine:
        """An engine for ``write``, whose lanes are seeded from ``seed``, apart from ``default_rng(seed)``."""
        return make_engine(task, lanes, seed)

    def split(self, index: Tensor, micro_batch: int) -> tuple[Tensor, ...]:
        """Episodes [n] in parts of ``micro_batch``, whose gradients are added; 0 for what is fastest."""
        return index.split(micro_batch or len(index))

    def trained_state(self) -> dict[str, Tensor]:
        """The weights that a training moves, by their names in the state of the module; no copies."""
        return self.state_dict()

    def save(self, out: Path) -> None:
        """Write what ``klrl_envs.load_policy`` reads into a folder."""
        save_policy(self, out / "policy.safetensors")


class WeightAverage:
    """The mean of a policy's weights over the updates since it began (Polyak and Juditsky 1992).

    Of factors of low rank it is the mean of each factor: their product is not the mean of the products.
    """

    def __init__(self, policy: PolicyNetwork) -> None:
        self._policy = policy
        self._count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Count the present weights in."""
        self._count += 1
        for name, weight in self._policy.trained_state().items():
            if name not in self._mean:
                self._mean[name] = weight.clone()
            else:
                self._mean[name] += (weight - self._mean[name]) / self._count

    def state(self) -> dict[str, Any]:
        """The mean and how many it is of."""
        return {"count": self._count, "mean": self._mean}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        present = self._policy.trained_state()
        if state["mean"]:
            check_names(state["mean"], present)
        self._count = state["count"]
        self._mean = {name: mean.to(present[name].device) for name, mean in state["mean"].items()}

    def apply(self) -> None:
        """Give the policy the mean, if there is one."""
        if self._mean:
            self._policy.load_state_dict(self._mean, strict=False)


def check_names(kept: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a checkpoint does not hold just the weights that a policy trains."""
    other = sorted(kept.keys() ^ trained.keys())
    if other:
        raise ValueError(
            f"resume: the checkpoint holds {len(kept)} weights and this policy trains {len(trained)}; "
            f"only one has {', '.join(other[:3])}{' ...' if other[3:] else ''}: go on with the versions of "
            "the libraries that it began with"
        )
