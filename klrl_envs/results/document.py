"""A record in a JSON file: frozen, without fields that nobody knows, written whole or not at all."""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from klrl_envs.whole import write_whole

LARGEST_FILE = 10_000_000
"""Bytes of a file that is read."""

FAULTS_TOLD = 5
"""Faults of one file that a message names."""

LONGEST_MESSAGE = 2_000
"""Letters of a message that quotes a file."""


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
        something else, is damaged, too large, or no plain file.
        """
        try:
            text = read_file(Path(path))
            check_json(text)
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise ValueError(one_line(f"{path}: {faults(error)}")) from error
        except RecursionError as error:
            raise ValueError(one_line(f"{path}: Invalid JSON: brackets are nested too deeply")) from error
        except (OSError, ValueError) as error:
            raise ValueError(one_line(f"{path}: {error}")) from error

    def save(self, path: Path) -> None:
        """Write the file, and its folder where there is none."""
        write_atomically(path, self.to_json())


def read_file(path: Path) -> str:
    """The text of a plain file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a link, a folder, a pipe or a device, larger than ``LARGEST_FILE``, or not UTF-8.
    """
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("must be a plain file, not a link, a folder, a pipe or a device")
    if state.st_size > LARGEST_FILE:
        raise ValueError(f"must have at most {LARGEST_FILE:,} bytes, not {state.st_size:,}")
    return path.read_bytes().decode("utf-8")


def check_json(text: str) -> None:
    """Raise ValueError where a text is no JSON, names a key twice, or has numbers that no float holds."""
    try:
        json.loads(
            text, object_pairs_hook=_without_duplicates, parse_float=_number, parse_constant=_no_number
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"Invalid JSON: {error}") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a file; ValueError where a key comes twice, of which readers keep one or the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"Invalid JSON: the key {twice!r} comes twice")
    return found


def _number(digits: str) -> float:
    """A number of a file; ValueError where it is larger than a float can be."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"Invalid JSON: {digits[:40]} is larger than a number can be")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"Invalid JSON: {name} is no number")


def faults(error: ValidationError) -> str:
    """The fields that are wrong and why, in one line."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told: list[str] = []
    for fault in found[:FAULTS_TOLD]:
        place = ".".join(map(str, fault["loc"]))
        told.append(f"{place + ': ' if place else ''}{fault['msg']}")
    more = len(found) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def one_line(text: str) -> str:
    """A message without line breaks, or letters that cannot be printed, and not too long."""
    plain = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return plain if len(plain) <= LONGEST_MESSAGE else f"{plain[:LONGEST_MESSAGE]} ..."


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all, and its folder where there is none; see ``write_whole``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


@contextmanager
def held(path: Path, given_up: Callable[[], bool] = lambda: False) -> Generator[bool]:
    """Hold a file or folder, so that other processes which ask for it here wait; a death lets go of it.

    The lock is a file beside it, which stays: who waits for it would lose it otherwise.

    Args:
        path: what is held; it need not be there.
        given_up: asked every second while another has it.

    Yields:
        Whether it is held: False where it was given up.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    while not given_up():
        try:
            lock.acquire(timeout=1.0)
        except Timeout:
            continue
        try:
            yield True
        finally:
            lock.release()
        return
    yield False
