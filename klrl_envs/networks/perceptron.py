"""The small network on a hidden state."""

from __future__ import annotations

from torch import nn


def perceptron(
    inputs: int, width: int, outputs: int, bias: float = 0.0, *, device: str | None = None
) -> nn.Sequential:
    """Two hidden layers, and an output that is ``bias`` at first."""
    last = nn.Linear(width, outputs, device=device)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(
        nn.Linear(inputs, width, device=device),
        nn.SiLU(),
        nn.Linear(width, width, device=device),
        nn.SiLU(),
        last,
    )
