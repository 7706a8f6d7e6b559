"""Checkpoints of a training: one file, replaced whole, from which it goes on as if nothing had happened.

The file is safetensors: tensors, and the rest as JSON in its metadata. Nothing is pickled. It is there from
the beginning of a training until its result is written; ``--resume`` goes on from it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from agents.arguments import NetworkArguments
from agents.networks.policy import PolicyNetwork, WeightAverage, check_names
from agents.run import CHECKPOINT, Training
from klrl_envs import Engine

FORMAT = "klrl-checkpoint-2"
KIND = "$kind"
FREE = ("out", "resume", "checkpoint_seconds")
"""Arguments that may differ where a training goes on."""


@dataclass(frozen=True)
class Part:
    """What a checkpoint keeps of one thing: how it is read, and how it is put back."""

    state: Callable[[], Any]
    restore: Callable[[Any], object]


def training_parts(
    policy: PolicyNetwork,
    optimizers: Sequence[torch.optim.Optimizer],
    average: WeightAverage,
    generator: torch.Generator,
    rng: np.random.Generator,
    engine: Engine,
) -> dict[str, Part]:
    """All that the next update of a training depends on."""

    def restore_weights(state: dict[str, torch.Tensor]) -> None:
        check_names(state, policy.trained_state())
        policy.load_state_dict(state, strict=False)  # what is not trained is not in it

    def restore_numbers(state: Any) -> None:
        rng.bit_generator.state = state

    parts = {
        "policy": Part(policy.trained_state, restore_weights),
        "average": Part(average.state, average.restore),
        "generator": Part(generator.get_state, generator.set_state),
        "rng": Part(lambda: rng.bit_generator.state, restore_numbers),
        "engine": Part(engine.randomness, engine.restore_randomness),
    }
    for number, optimizer in enumerate(optimizers):
        parts[f"optimizer {number}"] = Part(optimizer.state_dict, optimizer.load_state_dict)
    return parts


class Checkpoints:
    """The checkpoint of a training, which is put back at once where it goes on from one.

    Args:
        args: the agent's.
        training: whose ``out`` the file lies in.
        parts: what is kept, by name.
        at_risk: tokens that may be written and not yet noted when a process dies, at most.

    Raises:
        ValueError: the checkpoint in the folder is of other arguments.
    """

    def __init__(
        self, args: NetworkArguments, training: Training, parts: Mapping[str, Part], *, at_risk: int
    ) -> None:
        self._path = training.out / CHECKPOINT
        self._training = training
        self._parts = parts
        self._every = args.checkpoint_seconds
        self._arguments = fixed_arguments(args, training.module)
        if training.resumed:
            self._restore(at_risk)
        else:
            self.save()  # who dies before the next one has begun here, and what it wrote counts

    def _restore(self, at_risk: int) -> None:
        state = load_state(self._path)
        check_arguments(state["arguments"], self._arguments, self._path)
        self._training.restore(state["training"], at_risk)
        for name, part in self._parts.items():
            part.restore(state["parts"][name])
        self._write(state["training"]["sizes"])  # what was lost is on record before its lines are cut off
        self._training.cut_back(state["training"]["sizes"])

    def save_if_due(self) -> None:
        """A checkpoint where the last one is old enough."""
        if time.monotonic() - self._saved >= self._every:
            self.save()

    def save(self) -> None:
        """A checkpoint of now."""
        self._write(self._training.sizes())

    def _write(self, sizes: Mapping[str, int]) -> None:
        state = {
            "format": FORMAT,
            "arguments": self._arguments,
            "training": {**self._training.state(), "sizes": sizes},
            "parts": {name: part.state() for name, part in self._parts.items()},
        }
        save_state(state, self._path)
        self._saved = time.monotonic()


def fixed_arguments(args: NetworkArguments, agent: str) -> dict[str, Any]:
    """The agent and those of its arguments that decide what is learnt."""
    named = {name: value for name, value in dataclasses.asdict(args).items() if name not in FREE}
    return {"agent": agent, **json.loads(json.dumps(named))}


def check_arguments(kept: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError, which names them, where arguments are not those of a checkpoint."""
    other = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    if other:
        shown = ", ".join(f"{name} {kept.get(name)!r} and not {now.get(name)!r}" for name in other)
        raise ValueError(f"resume: {path} is of a training with {shown}; give its arguments or another out")


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a state of dictionaries, lists, numbers, strings, arrays and tensors, whole or not at all.

    Raises:
        OSError: it could not be written; what was there before is there still.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(packed(state, tensors, {}))
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, metadata={"state": text})
        with partial.open("r+b") as file:  # not every system syncs a file that is only read
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written: {error}") from error


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote, the tensors on the CPU.

    Raises:
        ValueError: the file is damaged, or no checkpoint of this format.
    """
    try:
        with safe_open(path, "pt") as file:
            # copies: no tensor may hold on to the file, which the next checkpoint replaces
            state = unpacked(
                json.loads((file.metadata() or {}).get("state", "{}")),
                cache(lambda name: file.get_tensor(name).clone()),
            )
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged and nothing can go on from it ({error}); remove it to begin anew, "
            "or give another out"
        ) from error
    if state.get("format") != FORMAT:
        raise ValueError(f"{path}: must have the format {FORMAT!r}, not {state.get('format')!r}")
    return state


def packed(value: Any, tensors: dict[str, torch.Tensor], names: dict[int, str]) -> Any:
    """A state as JSON has it; its arrays and tensors are put into ``tensors``, each once.

    ``names`` has those of arrays and tensors that are there already, by their ids.
    """
    if isinstance(value, (torch.Tensor, np.ndarray)):
        name = names.setdefault(id(value), str(len(tensors)))
        if name not in tensors:
            tensors[name] = torch.as_tensor(value).detach().cpu().clone().contiguous()
        return {KIND: "tensor" if isinstance(value, torch.Tensor) else "array", "name": name}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and KIND not in value:
            return {key: packed(item, tensors, names) for key, item in value.items()}
        return {KIND: "pairs", "pairs": [[key, packed(item, tensors, names)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {KIND: "tuple", "items": [packed(item, tensors, names) for item in value]}
    return [packed(item, tensors, names) for item in value] if isinstance(value, list) else value


def unpacked(value: Any, tensor: Callable[[str], torch.Tensor]) -> Any:
    """The state that ``packed`` made this JSON of; ``tensor`` gives tensors by their names."""
    if isinstance(value, list):
        return [unpacked(item, tensor) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind == "pairs":
        return {key: unpacked(item, tensor) for key, item in value["pairs"]}
    if kind == "tuple":
        return tuple(unpacked(item, tensor) for item in value["items"])
    if kind in ("tensor", "array"):
        found = tensor(value["name"])
        return found if kind == "tensor" else found.numpy()
    return {key: unpacked(item, tensor) for key, item in value.items()}
