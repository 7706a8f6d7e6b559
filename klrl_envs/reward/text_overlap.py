"""How far texts agree with the texts that people wrote: ROUGE, chrF, token F1, word error rate.

All are functions of K candidates and K references, and work on the whole batch at once. ROUGE is that of Lin
2004 (https://aclanthology.org/W04-1013) as the package rouge-score computes it without a stemmer, chrF that
of Popović 2015 (https://aclanthology.org/W15-3049) as sacrebleu computes it for sentences: the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import FloatArray, IntArray

Metric = Callable[[Sequence[str], Sequence[str]], FloatArray]

CHARACTER_ORDER = 6
"""Of chrF: the longest n-grams."""
BETA = 2.0
"""Of chrF: recall counts so many times as much as precision."""
_NOT_OF_ROUGE = re.compile(r"[^a-z0-9]+")
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")


def best_of(metric: Metric, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
    """The best of a metric over several references each, at least one, [K]."""
    counts = np.array([len(each) for each in references], dtype=np.int64)
    if not counts.all():
        raise ValueError(f"each candidate must have a reference, and that at {int(counts.argmin())} has none")
    repeated = [text for text, count in zip(candidates, counts, strict=True) for _ in range(count)]
    values = metric(repeated, list(chain.from_iterable(references)))
    return np.maximum.reduceat(values, np.cumsum(counts) - counts) if len(counts) else values


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> FloatArray:
    """F1 of the longest common subsequence of words, in [0, 1], [K]."""
    candidate, reference = _word_ids(_rouge_words(candidates), _rouge_words(references))
    return _f1(_common_subsequence(candidate[0], reference[0]), candidate[1], reference[1])


def rouge_n(candidates: Sequence[str], references: Sequence[str], order: int) -> FloatArray:
    """F1 of the n-grams of words of one order, in [0, 1], [K]."""
    candidate, reference = _word_ids(_rouge_words(candidates), _rouge_words(references))
    matches, ours, theirs = _shared_ngrams(_flat(*candidate), _flat(*reference), len(candidates), order)[-1]
    return _f1(matches, ours, theirs)


def token_f1(candidates: Sequence[str], references: Sequence[str]) -> FloatArray:
    """F1 of words and signs in lower case, however ordered, in [0, 1], [K]; 1 where neither has any.

    Signs count, so that "C" is not "C++".
    """
    matches, ours, theirs = _shared_words(candidates, references)
    return np.where(ours + theirs == 0, 1.0, _f1(matches, ours, theirs))


def token_precision(candidates: Sequence[str], references: Sequence[str]) -> FloatArray:
    """The share of a candidate's words and signs, in lower case, that the reference has, too, [K]; 0 of none.

    The other way round it is recall.
    """
    matches, ours, _ = _shared_words(candidates, references)
    return matches / np.maximum(ours, 1)


def chrf(candidates: Sequence[str], references: Sequence[str]) -> FloatArray:
    """chrF2 of the characters without spaces, in [0, 1], [K]."""
    ours, theirs = (_flat_parts([_characters(text) for text in each]) for each in (candidates, references))
    precision, recall, orders = (np.zeros(len(candidates)) for _ in range(3))
    for matches, own, other in _shared_ngrams(ours, theirs, len(candidates), CHARACTER_ORDER):
        counted = (own > 0) & (other > 0)
        precision += np.where(counted, matches / np.maximum(own, 1), 0)
        recall += np.where(counted, matches / np.maximum(other, 1), 0)
        orders += counted
    precision, recall = precision / np.maximum(orders, 1), recall / np.maximum(orders, 1)
    weighted = BETA**2 * precision + recall
    return np.where(
        weighted > 0, (1 + BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1), 0.0
    )


def word_error_rate(candidates: Sequence[str], references: Sequence[str]) -> FloatArray:
    """Edits (words put in, left out, changed) that make a candidate the reference, over the reference's words
    and signs, [K]; by one word where the reference has none.
    """
    candidate, reference = _word_and_sign_ids(candidates, references)
    return _edits(*candidate, *reference) / np.maximum(reference[1], 1)


def _f1(matches: IntArray, ours: IntArray, theirs: IntArray) -> FloatArray:
    """2 P R / (P + R) of counts [K], which is 2 matches / (ours + theirs)."""
    return 2 * matches / np.maximum(ours + theirs, 1)


def _rouge_words(texts: Sequence[str]) -> list[list[str]]:
    return [_NOT_OF_ROUGE.sub(" ", text.lower()).split() for text in texts]


def _words_and_signs(text: str) -> list[str]:
    return _WORD_OR_SIGN.findall(text.lower())


def _word_and_sign_ids(*sides: Sequence[str]) -> list[tuple[IntArray, IntArray]]:
    """Words and signs of the texts of each side as numbers; see ``_word_ids``."""
    return _word_ids(*([_words_and_signs(text) for text in side] for side in sides))


def _shared_words(
    candidates: Sequence[str], references: Sequence[str]
) -> tuple[IntArray, IntArray, IntArray]:
    """How many words and signs each pair shares, and how many each side has, all [K]."""
    candidate, reference = _word_and_sign_ids(candidates, references)
    return _shared_ngrams(_flat(*candidate), _flat(*reference), len(candidates), 1)[0]


def _characters(text: str) -> NDArray[np.uint32]:
    """Code points of a text without white space."""
    return np.frombuffer("".join(text.split()).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _word_ids(*sides: Sequence[Sequence[str]]) -> list[tuple[IntArray, IntArray]]:
    """Words as numbers: of each side the ids [K, L], padded with -1 - side, and the lengths [K]."""
    number = {word: at for at, word in enumerate(dict.fromkeys(chain.from_iterable(chain(*sides))))}
    found: list[tuple[IntArray, IntArray]] = []
    for side, texts in enumerate(sides):
        lengths = np.array([len(words) for words in texts], dtype=np.int64)
        ids = np.full((len(texts), max(lengths, default=0)), -1 - side, dtype=np.int64)
        inside = np.arange(ids.shape[1], dtype=np.int64) < lengths[:, None]
        ids[inside] = np.fromiter(
            map(number.__getitem__, chain.from_iterable(texts)), np.int64, lengths.sum()
        )
        found.append((ids, lengths))
    return found


def _flat(ids: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    """All ids of padded rows, one after another, and the row of each."""
    inside = np.arange(ids.shape[1], dtype=np.int64) < lengths[:, None]
    return ids[inside], np.repeat(np.arange(len(ids), dtype=np.int64), lengths)


def _flat_parts(parts: Sequence[NDArray[np.uint32]]) -> tuple[IntArray, IntArray]:
    """All numbers of some arrays, one after another, and the array of each."""
    lengths = [len(part) for part in parts]
    joined = np.concatenate([np.zeros(0, dtype=np.uint32), *parts]).astype(np.int64)
    return joined, np.repeat(np.arange(len(parts), dtype=np.int64), lengths)


def _shared_ngrams(
    candidate: tuple[IntArray, IntArray], reference: tuple[IntArray, IntArray], count: int, order: int
) -> list[tuple[IntArray, IntArray, IntArray]]:
    """Of the n-grams of each order up to ``order``: how many the sides share, and how many each has, all [K].

    A side is its symbols and the text of each. The n-grams of a text get numbers order by order: one of n
    symbols is the number of its first n - 1 and its last.
    """
    symbols = np.concatenate([candidate[0], reference[0]])
    text = np.concatenate([candidate[1], reference[1]])
    ours = np.arange(len(symbols)) < len(candidate[0])
    base = int(symbols.max(initial=0)) + 1
    place = np.arange(len(symbols))  # where an n-gram begins
    gram = text
    found: list[tuple[IntArray, IntArray, IntArray]] = []
    for size in range(1, order + 1):
        last = place + size - 1
        inside = last < len(symbols)
        inside[inside] &= (text[last[inside]] == text[place[inside]]) & (
            ours[last[inside]] == ours[place[inside]]
        )
        place, last = place[inside], last[inside]
        distinct, gram = np.unique(gram[inside] * base + symbols[last], return_inverse=True)
        own = np.bincount(gram[ours[place]], minlength=len(distinct))
        other = np.bincount(gram[~ours[place]], minlength=len(distinct))
        owner = np.zeros(len(distinct), dtype=np.int64)
        owner[gram] = text[place]
        sums = (np.bincount(owner, each, minlength=count) for each in (np.minimum(own, other), own, other))
        matches, of_ours, of_theirs = (each.astype(np.int64) for each in sums)
        found.append((matches, of_ours, of_theirs))
    return found


def _common_subsequence(ours: IntArray, theirs: IntArray) -> IntArray:
    """Length of the longest common subsequence of each pair of rows, [K]. Paddings of the sides differ."""
    row = np.zeros((len(ours), theirs.shape[1] + 1), dtype=np.int64)
    for column in ours.T:  # a row of the table of dynamic programming, for all pairs at once
        longer = row[:, :-1] + (column[:, None] == theirs)
        row[:, 1:] = np.maximum.accumulate(np.maximum(row[:, 1:], longer), axis=1)
    return row[:, -1]


def _edits(ours: IntArray, lengths: IntArray, theirs: IntArray, others: IntArray) -> IntArray:
    """Levenshtein distance of each pair of rows, [K]. Paddings of the sides differ."""
    steps = np.arange(theirs.shape[1] + 1, dtype=np.int64)
    row = np.broadcast_to(steps, (len(ours), len(steps))).copy()
    for place, column in enumerate(ours.T):
        changed = row[:, :-1] + (column[:, None] != theirs)
        next_row = row + 1
        next_row[:, 1:] = np.minimum(next_row[:, 1:], changed)
        next_row = np.minimum.accumulate(next_row - steps, axis=1) + steps
        row = np.where((place < lengths)[:, None], next_row, row)
    return row[np.arange(len(row)), others]
