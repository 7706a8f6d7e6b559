"""The time as waves, so that a small network may tell one step from the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIME_WAVES = 8


def time_waves(share: Tensor) -> Tensor:
    """cos(k pi share) for k = 1 to ``TIME_WAVES``, [..., TIME_WAVES], of a share of the horizon [..., 1]."""
    return torch.cos(share * (torch.arange(1, TIME_WAVES + 1, device=share.device) * math.pi))
