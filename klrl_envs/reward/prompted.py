"""Texts that begin with one of some prompts, told apart into prompt and what was written after it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.arrays import IntArray


class Prompted:
    """Finds the prompt that a text begins with.

    Args:
        prompts: distinct, none of them the beginning of another.

    Raises:
        ValueError: one is the beginning of another, or is there twice.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        order = sorted(range(len(prompts)), key=prompts.__getitem__)
        self._order = np.array(order, dtype=np.int64)
        self._sorted: list[str] = [prompts[place] for place in order]
        for before, after in zip(self._sorted, self._sorted[1:], strict=False):
            if after.startswith(before):
                raise ValueError(f"no prompt may begin with another, and {after!r} does with {before!r}")

    def split(self, texts: Sequence[str]) -> tuple[IntArray, list[str]]:
        """The number int64 [K] of the prompt of each text, and what follows it.

        Raises:
            ValueError: a text that begins with none of the prompts.
        """
        # of all strings up to a text in alphabetical order, its own prompt is the last
        places = [bisect_right(self._sorted, text) - 1 for text in texts]
        for place, text in zip(places, texts, strict=True):
            if place < 0 or not text.startswith(self._sorted[place]):
                raise ValueError(f"{text!r} begins with no prompt of this task")
        rest = [text[len(self._sorted[place]) :] for place, text in zip(places, texts, strict=True)]
        return self._order[np.array(places, dtype=np.int64)], rest
