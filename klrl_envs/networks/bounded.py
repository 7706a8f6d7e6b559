"""Files of strangers, read whole within a bound."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_BYTES = 1 << 28
"""Of a policy's file: 256 MiB."""


def read_regular(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file that is no link.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        ValueError: in one line, that it is not there, no regular file, or too large.
    """
    # a pipe without a writer would block where it is opened
    extra = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
    flags = os.O_RDONLY | sum(int(getattr(os, name, 0)) for name in extra)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        link = " (links are not followed)" if Path(path).is_symlink() else ""
        raise ValueError(f"{path}: {error.strerror}{link}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path}: is no regular file")
        if found.st_size > most:
            raise ValueError(f"{path}: has {found.st_size:,} bytes, and at most {most:,} are read")
        with open(handle, "rb", closefd=False) as stream:
            return stream.read(found.st_size)
    finally:
        os.close(handle)
