"""What a builder says of itself: the files that it makes, their cards, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Measurements = Mapping[str, object]


@dataclass(frozen=True)
class Asset:
    """What has a card of its own.

    Attributes:
        name: of the card.
        files: that the asset consists of.
        card: its text, with ``$data``, ``$rebuild``, ``$measured`` and ``$files`` for what is filled in.
    """

    name: str
    files: tuple[str, ...]
    card: str


@dataclass(frozen=True)
class Recipe:
    """How some assets are made together. Every module of this package that has a ``RECIPE`` is a builder.

    Attributes:
        name: what the command calls it.
        assets: what it makes.
        takes: how long, in words.
        reads: files of other recipes that must be there.
        build: (folder of the files, folder of checkpoints) -> the measurements of each asset's card.
        reading: (tokens) -> the same recipe with a training that reads so many, where there is a long one.
    """

    name: str
    assets: tuple[Asset, ...]
    takes: str
    reads: tuple[str, ...]
    build: Callable[[Path, Path], Mapping[str, Measurements]]
    reading: Callable[[int], Recipe] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All the files that it makes."""
        return tuple(name for asset in self.assets for name in asset.files)
