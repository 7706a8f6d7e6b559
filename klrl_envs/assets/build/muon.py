"""How a ``Nano`` is begun and trained: its first weights, and Muon for the matrices of its blocks.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from klrl_envs.reference.nano import Nano


def orthogonalise(matrix: Tensor) -> Tensor:
    """Nearest semi-orthogonal matrix by five quintic Newton-Schulz steps, in float32.

    (``torch.optim.Muon`` does the same in bfloat16, which is slow on CPUs without such units.)
    """
    x: Any = matrix  # Tensor.norm and Tensor.T have no types
    x = x / (x.norm() + 1e-7)
    transposed = matrix.shape[0] > matrix.shape[1]
    x = x.T if transposed else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if transposed else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised: every matrix moves by a step of the same spectral size."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                velocity = state.setdefault("velocity", torch.zeros_like(parameter))
                velocity.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalise(parameter.grad.lerp(velocity, group["momentum"]))
                scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.add_(update, alpha=-group["lr"] * scale)


def initialise(model: Nano) -> None:
    """Normal(0, .02) embeddings; uniform fan-in matrices; zero matrices into the residual stream."""
    torch.nn.init.normal_(model.embedding.weight, std=0.02)
    for name, parameter in model.named_parameters():
        if name.endswith(("attention_out.weight", "down.weight")):
            torch.nn.init.zeros_(parameter)
