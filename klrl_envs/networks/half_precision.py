"""Where networks compute in bfloat16: where they get a gradient, on a GPU, and nowhere else."""

from __future__ import annotations

import torch

DEVICES = ("cuda",)


def in_bfloat16(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 for what gets a gradient on a GPU; what is only read stays in float32.

    Rewards, scores and the KL are made of what is only read, and bfloat16 moves log-probs by about .02 nats:
    a policy is the same there as on the CPU.
    """
    fast = device.type in DEVICES
    return torch.autocast(
        device.type if fast else "cpu", torch.bfloat16, enabled=fast and torch.is_grad_enabled()
    )
