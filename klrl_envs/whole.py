"""Files that are whole or not there, whatever fills the disk, ends a process, or writes beside it."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

BINARY = getattr(os, "O_BINARY", 0)
"""Else Windows would write another line end."""
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system says that has none, as those of clusters may be mounted."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: it is replaced at once, and stays as it was where that fails.

    Raises:
        OSError: it names the file and what was in the way, such as a full disk.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def append_whole(path: str | Path, data: bytes) -> None:
    """Append to a file that processes may share, in one piece or not at all.

    Raises:
        OSError: it names the file and what was in the way.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
    try:
        append_to(descriptor, data, path)
    finally:
        os.close(descriptor)


def append_to(descriptor: int, data: bytes, path: str | Path) -> None:
    """As ``append_whole``, where the file is open for appending already."""
    with alone(descriptor) as held:
        size = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, data)
        except OSError as error:
            raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error
        if written < len(data):
            if held:  # what a full disk took of it would be a torn line; nobody has written after it
                os.ftruncate(descriptor, size)
            reason = os.strerror(errno.ENOSPC)
            raise OSError(errno.ENOSPC, f"could not be written: {reason}", str(path))


@contextmanager
def alone(descriptor: int) -> Generator[bool]:
    """Hold an open file, so that whoever else asks for it waits.

    Yields:
        Whether it is held: not on Windows, and not on a file system that has no locks.
    """
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
