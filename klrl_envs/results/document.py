"""A record in a JSON file: frozen, without fields that nobody knows, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Fields that do not change, and no others: a misspelt one cannot go unseen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(Strict):
    """What a file holds."""

    def plain(self) -> dict[str, Any]:
        """The fields, in their order, as JSON has them."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """The text of the file.

        Raises:
            ValueError: a number that JSON has no form for.
        """
        return json.dumps(self.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file; ValueError of one line that names the file, the field and the fault where it holds
        something else.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise ValueError(f"{path}: {place + ': ' if place else ''}{fault['msg']}") from error
        except OSError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the file, and its folder where there is none."""
        write_atomically(path, self.to_json())


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all, whatever kills the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
