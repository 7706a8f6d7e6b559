"""Texts of the reviews for the classifiers: windows of 32 tokens, short reviews and whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from klrl_envs.assets.build.corpus import Review
from klrl_envs.reference.arrays import BoolArray, IntArray

WINDOW = 32
PASSAGE, SHORT, WHOLE = range(3)
KINDS = {"windows": PASSAGE, "short reviews": SHORT, "whole reviews": WHOLE}


@dataclass(frozen=True)
class Passages:
    """Every text of every review: its windows of WINDOW tokens and itself, all arrays [K]."""

    texts: list[str]
    label: IntArray
    review: IntArray
    kind: IntArray
    part: NDArray[np.str_]

    def rows(self, part: str, *kinds: int) -> BoolArray:
        """Mask of the texts of a part that are of these kinds."""
        return (self.part == part) & np.isin(self.kind, kinds)


def cut(reviews: Sequence[Review], tokenizer: Tokenizer) -> Passages:
    """Whole IMDB reviews, their non-overlapping full windows as text, and Rotten Tomatoes sentences."""
    texts: list[str] = []
    rows: list[tuple[int, int, int, str]] = []
    encodings = tokenizer.encode_batch_fast([review.text for review in reviews])
    for index, (review, encoding) in enumerate(zip(reviews, encodings, strict=True)):
        pieces, kinds = [review.text], [WHOLE if review.source == "imdb" else SHORT]
        if review.source == "imdb":
            last = len(encoding.ids) - WINDOW + 1
            windows = [encoding.ids[start : start + WINDOW] for start in range(0, last, WINDOW)]
            pieces += tokenizer.decode_batch(windows)
            kinds += [PASSAGE] * len(windows)
        texts += pieces
        rows += [(review.label, index, kind, review.part) for kind in kinds]
    label, review_index, kind, part = zip(*rows, strict=True)
    return Passages(texts, np.array(label), np.array(review_index), np.array(kind), np.array(part))
