"""Where a network's numbers lie: the device of a reference, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.protocol import Reference, ReferenceLanes, TensorLanes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def device_named(name: str) -> str:
    """The device that a name means: "auto" is CUDA where there is one.

    Args:
        name: "auto", "cpu", "cuda", or one CUDA device such as "cuda:1".

    Raises:
        ValueError: another name, or CUDA where torch sees none.
    """
    kind, _, number = name.partition(":")
    if name not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:NUMBER, got {name!r}")
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(number or 0) >= count:
        raise ValueError(f"device is {name}, and torch sees {count} CUDA devices; auto and cpu are allowed")
    return name


def reference_on(reference: Reference, device: str) -> Reference:
    """A reference with its network on a device; a table has none and stays as it is."""
    # asked for by name: a protocol's isinstance would look at every property, and so load the network
    move = getattr(reference, "on", None)
    return reference if move is None else move(device)


def device_of(reference: Reference) -> str:
    """The device of a reference's network; "cpu" for a table."""
    return getattr(reference, "device", "cpu")


def rows_of(lanes: ReferenceLanes, device: torch.device, some: IntArray | None = None) -> Tensor:
    """log pi0(.|s) float32 [K, V] in nats at the sequences of ``some`` lanes [K], by default of all, on a
    device; not to be written to.

    A network's rows that lie there already are handed on, not copied.
    """
    import torch

    if isinstance(lanes, TensorLanes):
        return lanes.rows(some).to(device)
    rows = lanes.log_probs() if some is None else lanes.log_probs()[some]
    return torch.as_tensor(rows, dtype=torch.float32, device=device)


def features_of(lanes: ReferenceLanes, device: torch.device, some: IntArray | None = None) -> Tensor:
    """Final normalised hidden states float32 [K, width] at the sequences of ``some`` lanes [K], by default of
    all, on a device.

    Raises:
        TypeError: the reference is a table.
    """
    import torch

    if isinstance(lanes, TensorLanes):
        return lanes.features(some).to(device)
    return torch.as_tensor(lanes.hidden() if some is None else lanes.hidden()[some], device=device)
