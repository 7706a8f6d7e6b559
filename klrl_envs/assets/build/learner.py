"""A ``Nano`` in training: its optimizers at their rates, and the checkpoint from which it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from klrl_envs.assets.build.muon import Muon, initialise
from klrl_envs.reference.nano import Nano, NanoConfig


class Learner:
    """A network with Muon for the matrices of its blocks and AdamW for the rest.

    Args:
        config: shape of the network.
        seed: of its first weights.
        matrix_rate, other_rate: learning rates of the two at their peak.
        checkpoint: a file; where it exists the training goes on from it.

    Attributes:
        model: the network.
        step: steps that were taken.
        kept: what ``save`` was given when the checkpoint was written; empty without one.
    """

    def __init__(
        self, config: NanoConfig, seed: int, matrix_rate: float, other_rate: float, checkpoint: Path
    ) -> None:
        cast(Any, torch).manual_seed(seed)
        self.model = Nano(config)
        initialise(self.model)
        matrices = [each for block in self.model.blocks for each in block.parameters() if each.ndim == 2]
        others = [each for each in self.model.parameters() if all(each is not one for one in matrices)]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(matrices, lr=matrix_rate), matrix_rate),
            (torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0), other_rate),
        ]
        self.checkpoint = checkpoint
        self.step = 0
        self.kept: dict[str, Any] = {}
        if checkpoint.exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.checkpoint, weights_only=True)
        self.model.load_state_dict(saved.pop("model"))
        for (optimizer, _), state in zip(self._optimizers, saved.pop("optimizers"), strict=True):
            optimizer.load_state_dict(state)
        self.step = saved.pop("step")
        self.kept = saved

    def descend(self, loss: Tensor, factor: float) -> None:
        """One step down a loss, at a factor of the learning rates."""
        cast(Any, loss).backward()
        for optimizer, rate in self._optimizers:
            optimizer.param_groups[0]["lr"] = rate * factor
            cast(Any, optimizer).step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def save(self, **kept: Any) -> None:
        """Write the checkpoint, whole or not at all, and in it what else is to be kept."""
        state = {
            **kept,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
            "step": self.step,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)
