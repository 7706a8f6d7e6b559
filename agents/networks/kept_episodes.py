"""Episodes that were written earlier, drawn the more often the more was wrong of them: prioritized replay.

Each is drawn in proportion to w^sharpness, where w is the error that was found when it was last learnt from
(that of the worst that is kept, for one that was not). There are no importance weights: at a fixed point that
has no error left it matters not which episodes are drawn; where luck leaves errors, a sharpness of 0 draws
all alike. Source: Schaul et al. 2015 (arXiv 1511.05952), proportional, with episodes for transitions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.replay import joined
from agents.networks.trajectories import Trajectories, Visited

LEAST = 1e-3
"""Nats: the error that an episode counts with at least, so that all are drawn at times."""


class KeptEpisodes:
    """The latest batches of episodes.

    Args:
        batches: how many are kept.
        sharpness: of the draws, at least 0.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(self, batches: int, sharpness: float) -> None:
        if batches < 1:
            raise ValueError(f"kept must be at least 1, got {batches}")
        if not 0 <= sharpness < np.inf:
            raise ValueError(f"sharpness must be a number of at least 0, got {sharpness}")
        self._most = batches
        self.sharpness = sharpness
        self._kept: list[Trajectories] = []
        self._errors = np.zeros((0, 0))
        self._next = 0

    def __len__(self) -> int:
        return self._errors.size

    def add(self, trajectories: Trajectories) -> None:
        """Keep a batch of as many episodes as every other, without its texts as strings; where there is no
        room the oldest goes.
        """
        bare = replace(trajectories, texts=[], metrics={})
        errors = np.full((1, len(bare.mask)), self._errors.max(initial=LEAST))
        if len(self._kept) < self._most:
            self._kept.append(bare)
            self._errors = np.concatenate((self._errors.reshape(-1, errors.shape[1]), errors))
        else:
            self._kept[self._next], self._errors[self._next] = bare, errors
        self._next = (self._next + 1) % self._most

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Trajectories, NDArray[np.int64]]:
        """Some of the episodes, and where they are kept, int64 [count]; one may be drawn twice."""
        weights = (self._errors**self.sharpness).cumsum()
        places = np.searchsorted(weights, np.sort(rng.random(count)) * weights[-1]).clip(max=len(self) - 1)
        batches, rows = np.divmod(places, self._errors.shape[1])
        device = self._kept[0].mask.device
        parts = [
            (self._kept[batch], torch.as_tensor(rows[batches == batch], device=device))
            for batch in np.unique(batches).tolist()
        ]
        drawn = joined(parts)
        visited = drawn.visited
        return replace(drawn, visited=None if visited is None else compact(visited)), places

    def learnt(self, places: NDArray[np.int64], errors: Tensor) -> None:
        """Remember what was wrong [count] of episodes that were just drawn from these places, nats."""
        self._errors.reshape(-1)[places] = errors.cpu().numpy().clip(min=LEAST)


def compact(visited: Visited) -> Visited:
    """The same, with every pair of state and time once."""
    used, place = torch.unique(visited.state, return_inverse=True)
    inputs, number = torch.unique(visited.inputs[used], dim=0, return_inverse=True)
    return replace(visited, inputs=inputs, state=number[place])
