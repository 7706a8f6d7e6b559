"""BLEU of a corpus (Papineni et al. 2002, https://aclanthology.org/P02-1040): the number of sacrebleu.

It is no mean over texts. Each text has a few counts, the counts of all texts are added up, and BLEU is a
function of the sums: tokens as mteval-v13a cuts them, n-grams of up to four, and an order without a match is
smoothed ("exp" of Chen and Cherry 2014, https://aclanthology.org/W14-3346), as sacrebleu does by default.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from klrl_envs.reference.arrays import FloatArray

ORDER = 4
"""Of the longest n-grams."""
MATCHES = tuple(f"bleu_matches_{size}" for size in range(1, ORDER + 1))
OWN_LENGTH, OTHER_LENGTH = "bleu_length", "bleu_answer_length"
ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
"""In the order in which they are put back."""
_CUTS = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 "),  # signs but for those of the next three, and "'"
        (r"([^0-9])([\.,])", r"\1 \2 "),
        (r"([\.,])([^0-9])", r" \1 \2"),
        (r"([0-9])(-)", r"\1 \2 "),
    )
)

Grams = Counter[tuple[str, ...]]


def bleu_counts(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, FloatArray]:
    """What BLEU needs of each of K texts, float64 [K] by name.

    ``bleu_matches_n`` are the n-grams of a candidate that its references have, too, each as often as the
    reference that has it most often; ``bleu_length`` its tokens, ``bleu_answer_length`` those of the
    reference whose length is closest, of two the shorter.

    Raises:
        ValueError: a candidate without a reference.
    """
    rows: list[list[int]] = []
    for candidate, theirs in zip(candidates, references, strict=True):
        if not theirs:
            raise ValueError(f"each candidate must have a reference, and that at {len(rows)} has none")
        tokens = tokenized(candidate)
        most, lengths = _counted(tuple(theirs))
        shared = _grams(tokens) & most
        matches = [sum(n for gram, n in shared.items() if len(gram) == size) for size in range(1, ORDER + 1)]
        closest = min(lengths, key=lambda length: (abs(length - len(tokens)), length))
        rows.append([*matches, len(tokens), closest])
    columns = np.array(rows, dtype=np.float64).reshape(-1, ORDER + 2).T
    return dict(zip((*MATCHES, OWN_LENGTH, OTHER_LENGTH), columns, strict=True))


def corpus_bleu(counts: Mapping[str, FloatArray]) -> float:
    """BLEU in [0, 1] of all K texts together, from ``bleu_counts`` of them."""
    own, other = float(counts[OWN_LENGTH].sum()), float(counts[OTHER_LENGTH].sum())
    matches = [float(counts[name].sum()) for name in MATCHES]
    if not any(matches):
        return 0.0
    logs, smooth = 0.0, 1.0
    for size, matched in enumerate(matches):
        total = float(np.maximum(counts[OWN_LENGTH] - size, 0).sum())
        if not total:
            return 0.0  # no text is so long
        if not matched:
            smooth *= 2
        logs += math.log(matched / total if matched else 1 / (smooth * total))
    return math.exp(min(1 - other / own, 0) + logs / ORDER)


def tokenized(text: str) -> list[str]:
    """Words and signs as mteval-v13a cuts them."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, sign in ENTITIES.items():
        text = text.replace(entity, sign)
    text = f" {text} "
    for pattern, put in _CUTS:
        text = pattern.sub(put, text)
    return text.split()


def _grams(tokens: Sequence[str]) -> Grams:
    sizes = range(1, ORDER + 1)
    return Counter(tuple(tokens[at : at + size]) for size in sizes for at in range(len(tokens) - size + 1))


@lru_cache(maxsize=8192)
def _counted(references: tuple[str, ...]) -> tuple[Grams, tuple[int, ...]]:
    """How often a text's references have each n-gram, at most, and their lengths in tokens."""
    most: Grams = Counter()
    lengths: list[int] = []
    for reference in references:
        tokens = tokenized(reference)
        most |= _grams(tokens)
        lengths.append(len(tokens))
    return most, tuple(lengths)
