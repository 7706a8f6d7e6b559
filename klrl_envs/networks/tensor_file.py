"""Tensors as safetensors has them, whose header is checked before anything is allocated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from klrl_envs.networks.network import Spec
from klrl_envs.whole import write_whole

MOST_HEADER = 1 << 16
"""Bytes of a header: a policy has tens of tensors."""
PREFIX = 8
"""Bytes that hold the header's length."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself: strings by name, and type and shape of each tensor."""

    metadata: dict[str, str]
    tensors: dict[str, Spec]


def read_header(data: bytes) -> Header:
    """The header of a file's bytes.

    Raises:
        ValueError: the bytes are no safetensors file, or its header has more than ``MOST_HEADER`` bytes.
    """
    size = int.from_bytes(data[:PREFIX], "little")
    if len(data) < PREFIX or size > min(MOST_HEADER, len(data) - PREFIX):
        raise ValueError(
            f"is no safetensors file: its header would have {size:,} bytes, of {len(data):,} in the file "
            f"(at most {MOST_HEADER:,} are allowed)"
        )
    try:
        found: Any = json.loads(
            data[PREFIX : PREFIX + size].decode(),
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no safetensors file: its header is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError("is no safetensors file: its header is no JSON object")
    entries = cast(dict[str, Any], found)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise ValueError("its __metadata__ is no JSON object")
    texts = cast(dict[str, Any], metadata)
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"its __metadata__ has {shown(name)}, which is no string")
    return Header(texts, {name: _spec(name, entry) for name, entry in entries.items()})


def read_tensors(data: bytes, demanded: Mapping[str, Spec]) -> dict[str, NDArray[Any]]:
    """The tensors of a file's bytes, which are finite and as demanded, and no others.

    Raises:
        ValueError: other names, types or shapes, offsets that do not fit, NaN or an infinity.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    stated = read_header(data).tensors
    for name in sorted(stated.keys() ^ demanded.keys()):
        fault = "lacks" if name in demanded else "has"
        raise ValueError(f"{fault} the tensor {shown(name)}; the network has {', '.join(sorted(demanded))}")
    for name, spec in demanded.items():
        if stated[name] != spec:
            seen, wanted = (f"{kind} {list(shape)}" for kind, shape in (stated[name], spec))
            raise ValueError(f"tensor {name} must be {wanted}, not {shown(seen)}")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(f"is no safetensors file: {error}") from None
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"tensor {name} must be finite, and holds {tensor[~np.isfinite(tensor)][0]}")
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a file that ``read_tensors`` reads, whole or not at all; equal contents are equal files."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_whole(path, with_sorted_header(save(contiguous, metadata=dict(metadata))))


def with_sorted_header(data: bytes) -> bytes:
    """A safetensors file with its header in order; the library has several metadata in any."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[end:]


def shown(text: str, most: int = 60) -> str:
    """What a stranger wrote, short and in one line."""
    return repr(text if len(text) <= most else text[:most] + "...")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {shown(twice)} stands twice")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _spec(name: str, entry: Any) -> Spec:
    fields = cast(dict[str, Any], entry) if isinstance(entry, dict) else {}
    kind, shape, offsets = (fields.get(field) for field in ("dtype", "shape", "data_offsets"))
    if len(fields) != 3 or not isinstance(kind, str) or not re.fullmatch(r"[A-Z0-9_]{1,12}", kind):
        raise ValueError(f"tensor {shown(name)} must have a dtype, a shape, data_offsets, and nothing else")
    if not _are_counts(shape) or not _are_counts(offsets) or len(cast(list[int], offsets)) != 2:
        raise ValueError(f"shape and data_offsets of tensor {shown(name)} must be lists of whole numbers")
    return kind, tuple(cast(list[int], shape))


def _are_counts(value: Any) -> bool:
    items = cast(list[Any], value) if isinstance(value, list) else [None]
    return len(items) <= 8 and all(type(item) is int and item >= 0 for item in items)
