"""Episodes that were written earlier, kept to be learnt from again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.networks.trajectories import Trajectories, Visited
from agents.networks.writing import WrittenTexts

TABLES = ("base", "changed")
"""Of what exact episodes share, what is the same for all of a task, and is stored once."""


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

    def state(self) -> dict[str, Any]:
        """All batches, as dictionaries of tensors."""
        tables: list[Tensor] = []
        kept = []
        for trajectories in self._kept:
            parts = {item.name: getattr(trajectories, item.name) for item in fields(trajectories)}
            if trajectories.visited is not None:
                shared = trajectories.visited
                parts["visited"] = {item.name: getattr(shared, item.name) for item in fields(shared)}
                for name in TABLES:
                    parts["visited"][name] = number_in(tables, getattr(shared, name))
            kept.append({"written": isinstance(trajectories, WrittenTexts), "parts": parts})
        return {"tables": tables, "kept": kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        tables = [table.to(self._device) for table in state["tables"]]
        self._kept.clear()
        for each in state["kept"]:
            parts = placed(each["parts"], self._device)
            if parts["visited"] is not None:
                shared = placed(parts["visited"], self._device)
                found = {name: None if shared[name] is None else tables[shared[name]] for name in TABLES}
                parts["visited"] = Visited(**{**shared, **found})
            self._kept.append((WrittenTexts if each["written"] else Trajectories)(**parts))


def number_in(tables: list[Tensor], table: Tensor | None) -> int | None:
    """Where a table stands in a list, to which it is added if it is new; None for none."""
    if table is None:
        return None
    for number, known in enumerate(tables):
        if known is table:
            return number
    tables.append(table)
    return len(tables) - 1


def placed(parts: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A dictionary with its tensors on a device."""
    return {name: part.to(device) if isinstance(part, Tensor) else part for name, part in parts.items()}
