"""Episodes that were written earlier, kept to be learnt from again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from agents.networks.stored import restored, stored
from agents.networks.trajectories import Trajectories


class KeptBatches:
    """The latest batches of episodes, one of which is drawn at a time.

    Args:
        batches: how many are kept.
        device: of the episodes.
    """

    def __init__(self, batches: int, device: torch.device) -> None:
        self._kept: deque[Trajectories] = deque(maxlen=batches)
        self._device = device

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, trajectories: Trajectories) -> None:
        """Keep a batch, without its texts as strings; the oldest goes where there is no room."""
        self._kept.append(replace(trajectories, texts=[], metrics={}))

    def draw(self, rng: np.random.Generator) -> Trajectories:
        """One of the batches, each as likely."""
        return self._kept[int(rng.integers(len(self._kept)))]

    def state(self) -> list[dict[str, Any]]:
        """All batches, for a checkpoint."""
        return [stored(trajectories) for trajectories in self._kept]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Put a state back."""
        self._kept.clear()
        self._kept.extend(restored(state, self._device))
