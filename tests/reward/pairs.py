"""Synopses of packages, and texts that share words with them, for metrics of texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

EDGES = [
    *(("", ""), ("", "a b"), ("a b", ""), ("...", "a"), ("a", "a"), ("\ufffd \ufffd", "a"), ("C", "C++")),
    *(("a b a b a", "b a b"), ("the the the", "the"), ("é ü", "é u"), ("a", "abcdefgh"), (" x  y ", "xy")),
]


def synopses() -> list[str]:
    """200 synopses of packages."""
    return (Path(__file__).parent / "synopses.txt").read_text("utf-8").splitlines()


def shuffled(lines: list[str]) -> list[str]:
    """Some words of each line and of another one, here and there in another order."""
    rng = np.random.default_rng(0)
    candidates: list[str] = []
    for line in lines:
        words = line.split(" ") + lines[int(rng.integers(len(lines)))].split(" ")[:2]
        kept = rng.permutation(len(words)) if rng.random() < 0.3 else np.arange(len(words))
        candidates.append(" ".join(words[int(at)] for at in kept if rng.random() < 0.7))
    return candidates
