"""The data that ships with the package. Every file is checked against ``manifest.json`` before it is used."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"


class CorruptedAsset(ValueError):
    """A shipped file is not the one that the manifest names."""


def manifest() -> dict[str, dict[str, str | int]]:
    """File name -> its SHA-256 and size in bytes."""
    return json.loads(MANIFEST.read_text("utf-8"))


def asset_digest(name: str) -> str:
    """The SHA-256 that the file must have.

    Raises:
        KeyError: no such asset.
    """
    known = manifest()
    if name not in known:
        raise KeyError(f"unknown asset {name!r}; shipped are {', '.join(sorted(known))}")
    return str(known[name]["sha256"])


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def asset_path(name: str) -> Path:
    """The path of an asset, whose bytes are checked once per process.

    Raises:
        KeyError: no such asset.
        CorruptedAsset: the file is missing or has another SHA-256.
    """
    expected = asset_digest(name)
    path = FOLDER / name
    if not path.is_file():
        raise CorruptedAsset(f"the asset {name} is missing from {FOLDER}: install klrl-envs again")
    seen = file_digest(path)
    if seen != expected:
        raise CorruptedAsset(
            f"the asset {name} is corrupted: SHA-256 {seen}, expected {expected}; install klrl-envs again"
        )
    return path


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, by name."""
    from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

    return load_file(path)


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a safetensors file."""
    from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]

    save_file(arrays, path)


def asset_arrays(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of an asset that is a safetensors file; raises as ``asset_path`` does."""
    return read_arrays(asset_path(name))
