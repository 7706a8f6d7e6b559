"""Folders of exported models: written whole or not at all, and never over anything else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

CONFIG = "config.json"
EXPORTED = {
    CONFIG, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "chat_template.jinja",
    "model.safetensors.index.json",
}  # fmt: skip
"""Files of an exported model beside its weights."""


def write_folder(folder: str | Path, write: Callable[[Path], None], *, force: bool = False) -> Path:
    """Have a folder written beside its place, and put there when it is done; returns its path.

    Args:
        folder: is made, with those above it.
        write: fills a folder.
        force: replace the model that lies there.

    Raises:
        FileExistsError: the folder has files, and ``force`` is not given or an export would not write them.
    """
    target = Path(folder).expanduser().resolve()
    check_free(target, force)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
        fresh, old = Path(beside, "new"), Path(beside, "old")
        fresh.mkdir()
        write(fresh)
        if target.is_dir():
            os.rename(target, old)
        try:
            os.rename(fresh, target)
        except OSError:
            if old.is_dir():
                os.rename(old, target)
            raise
    return target


def check_free(target: Path, force: bool) -> None:
    """Raise FileExistsError where a folder may not be written."""
    if not target.exists():
        return
    if not target.is_dir():
        raise FileExistsError(f"folder must be a folder, and {str(target)!r} is a file")
    names = {path.name for path in target.iterdir()}
    if names and not force:
        raise FileExistsError(
            f"folder must be empty or not there, and {str(target)!r} has files (see --force)"
        )
    other = sorted(path.name for path in target.iterdir() if path.is_dir() or not is_exported(path.name))
    if other:
        raise FileExistsError(
            f"{str(target)!r} has {other[0]!r}, which no export writes: it is no exported model, and stays"
        )
    if names and CONFIG not in names:
        raise FileExistsError(f"{str(target)!r} has no {CONFIG}: it is no exported model, and stays")


def is_exported(name: str) -> bool:
    """Whether exports write files of a name."""
    return name in EXPORTED or (name.startswith("model") and name.endswith(".safetensors"))
