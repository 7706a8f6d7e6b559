"""Trajectories as a checkpoint has them: dictionaries of tensors, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from agents.networks.trajectories import Trajectories, Visited
from agents.networks.writing import WrittenTexts


def stored(trajectories: Trajectories) -> dict[str, Any]:
    """Trajectories without texts and metrics; a tensor that several share is written once."""
    return {"written": isinstance(trajectories, WrittenTexts), "batch": as_dictionary(trajectories)}


def as_dictionary(value: Any) -> Any:
    """A dataclass, and one that it holds, as a dictionary."""
    if isinstance(value, (Trajectories, Visited)):
        return {item.name: as_dictionary(getattr(value, item.name)) for item in fields(value)}
    return value


def restored(states: Sequence[Mapping[str, Any]], device: torch.device) -> list[Trajectories]:
    """What was stored, on a device; a tensor that several shared they share again."""
    placed: dict[int, Tensor] = {}

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in placed:
            placed[id(value)] = value.to(device)
        return placed[id(value)]

    found: list[Trajectories] = []
    for state in states:
        values = {name: moved(value) for name, value in state["batch"].items()}
        if values["visited"] is not None:
            values["visited"] = Visited(**{name: moved(value) for name, value in values["visited"].items()})
        found.append((WrittenTexts if state["written"] else Trajectories)(**values))
    return found
