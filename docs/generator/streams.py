"""What a cell prints, in one piece: a kernel hands it on in pieces that end anywhere.

``%%bash`` passes on what it got every 100 bytes. MyST-NB's own merging ends each piece with a new line, which
breaks lines, and ANSI sequences, where a slow machine cut them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

OVERWRITTEN = re.compile(r".*\r(?=[^\n])")
"""What a terminal no longer shows of a line."""


def joined(outputs: Sequence[Any]) -> list[Any]:
    """A cell's outputs with all of a stream, as a terminal shows it, where its first piece was.

    Args:
        outputs: as notebooks have them (``nbformat``); they are changed.
    """
    streams: dict[str, Any] = {}
    kept = []
    for output in outputs:
        if output["output_type"] != "stream":
            kept.append(output)
        elif output["name"] in streams:
            streams[output["name"]]["text"] += output["text"]
        else:
            streams[output["name"]] = output
            kept.append(output)
    for stream in streams.values():
        stream["text"] = OVERWRITTEN.sub("", stream["text"]).rstrip() + "\n"
    return kept
