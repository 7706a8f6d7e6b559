"""The examples that ``prose`` learns, as tokens: the vocabulary chosen for them, and the order of a run."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import punctuation

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from klrl_envs.assets import read_arrays, write_arrays
from klrl_envs.assets.build.formats import ANSWER_MARKS, FIELD_MARKS, LONGEST, Example
from klrl_envs.reference.arrays import BoolArray, IntArray
from klrl_envs.reference.slot_words import UNKNOWN_TEXT, SlotVocabulary

SLOTS = 16
PROMPT_WEIGHT = 0.3
"""Of a token of a prompt, or of prose, in the loss; one of an answer has 1."""
SHARES = {
    "prose": 0.07, "summary": 0.30, "answer": 0.20,
    "fr": 0.06, "fr-paragraph": 0.12, "it": 0.06, "it-paragraph": 0.10, "de": 0.04, "de-paragraph": 0.05,
}  # fmt: skip
"""Of the tokens that a run reads, by the group of their example."""
MOST_UNKNOWN = 0.25
"""Of the words of an answer; examples of more are left out."""
SEPARATORS = 240
COMMON_SIGN = 2e-6
"""The share of the loss from which on a sign that is not ASCII is a separator and no word."""
CHUNK = 64
"""Batches whose texts are sorted by length together."""


def group_of(kind: str) -> str:
    """The group of a kind of example, one of SHARES."""
    return kind if kind in SHARES else kind.split("-")[0]


def ruler() -> SlotVocabulary:
    """A vocabulary that knows no word, by which lengths are measured before there is another."""
    return SlotVocabulary(
        fields=FIELD_MARKS,
        answers=ANSWER_MARKS,
        slots=SLOTS,
        separators=[" ", *punctuation, ", ", ". ", " (", ") ", " - ", ": ", "://", "). ", "; ", ' "', '" '],
        words=(),
    )


def choose_vocabulary(examples: Iterable[Example], size: int) -> SlotVocabulary:
    """The words and separators that weigh most in the loss, of the examples that are trained on."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    marks = re.compile("|".join(map(re.escape, (*FIELD_MARKS, *ANSWER_MARKS))))
    pieces = re.compile(r"[^\W_]+|(?:[^\w\n]|_)+")
    for example in examples:
        if not example.held_out:
            group = group_of(example.kind)
            prompt = PROMPT_WEIGHT if example.prompt else 0.0
            answer = 1.0 if example.prompt else PROMPT_WEIGHT
            for text, weight in ((example.prompt, prompt), (example.answers[0], answer)):
                for piece in pieces.findall(marks.sub("\n", text)):
                    counts[group][piece] += weight  # pyright: ignore[reportArgumentType]
    weights: Counter[str] = Counter()
    for group, found in counts.items():
        total = found.total()
        for piece, weight in found.items():
            weights[piece] += SHARES[group] * weight / total  # pyright: ignore[reportArgumentType]
    ordered = sorted(weights, key=lambda piece: (-weights[piece], piece))
    signs: Counter[str] = Counter()
    runs = [piece for piece in ordered if not piece[0].isalnum()]
    for run in runs:
        for sign in set(run):
            signs[sign] += weights[run]
    del signs[UNKNOWN_TEXT]
    single = dict.fromkeys([" ", *punctuation, *(each for each, n in signs.items() if n > COMMON_SIGN)])
    several = [run for run in runs if len(run) > 1 and all(sign in single for sign in run)]
    separators = [*single, *several[: SEPARATORS - len(single)]]
    words = [piece for piece in ordered if piece[0].isalnum()]
    others = SlotVocabulary(
        fields=FIELD_MARKS, answers=ANSWER_MARKS, slots=SLOTS, separators=separators, words=()
    )
    return SlotVocabulary(
        fields=FIELD_MARKS,
        answers=ANSWER_MARKS,
        slots=SLOTS,
        separators=separators,
        words=words[: size - others.size],
    )


@dataclass(frozen=True)
class Encoded:
    """K examples as tokens.

    Attributes:
        tokens: of all of them, one after another, each with its end token, uint16 [N].
        starts: where each begins, int64 [K + 1].
        prompts: tokens of each prompt, int64 [K]; 0 for prose.
        kind: its place among ``kinds``, int64 [K].
        held_out: bool [K].
        kinds: their names.
    """

    tokens: NDArray[np.uint16]
    starts: IntArray
    prompts: IntArray
    kind: IntArray
    held_out: BoolArray
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], vocabulary: SlotVocabulary) -> Encoded:
        """The examples that are no longer than LONGEST and have not too many unknown words in the answer."""
        kinds = tuple(sorted({example.kind for example in examples}))
        kept: list[NDArray[np.uint16]] = []
        rows: list[tuple[int, int, bool]] = []
        for example in tqdm(examples, desc="encode", unit="example"):
            tokens = vocabulary.encode(example.prompt + example.answers[0])
            first = vocabulary.prompt_length(tokens)
            unknown = tokens[first:].count(vocabulary.unknown_token)
            if len(tokens) < LONGEST and unknown <= MOST_UNKNOWN * max(len(tokens) - first, 1):
                kept.append(np.array([*tokens, vocabulary.end_token], dtype=np.uint16))
                rows.append((first, kinds.index(example.kind), example.held_out))
        prompts, kind, held_out = (np.array(column) for column in zip(*rows, strict=True))
        starts = np.concatenate([[0], np.cumsum([len(each) for each in kept])])
        return cls(np.concatenate(kept), starts, prompts, kind, held_out, kinds)

    @classmethod
    def load(cls, path: Path) -> Encoded:
        """What ``save`` wrote."""
        arrays = read_arrays(path)
        kinds = tuple(arrays.pop("kinds").tobytes().decode().split("\n"))
        return cls(kinds=kinds, **arrays)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        partial = path.with_suffix(".partial")
        names = np.frombuffer("\n".join(self.kinds).encode(), dtype=np.uint8)
        write_arrays(partial, {**vars(self), "kinds": names})
        partial.replace(path)

    @property
    def lengths(self) -> IntArray:
        """Tokens of each example, its end token included, [K]."""
        return np.diff(self.starts)

    def padded(self, chosen: IntArray) -> tuple[IntArray, NDArray[np.float32]]:
        """Tokens [B, L] of examples, with end tokens on the right, and their weights in the loss [B, L].

        The unknown weighs nothing, so that a network reads it and learns not to write it.
        """
        lengths = self.lengths[chosen]
        position = np.arange(int(lengths.max()))
        inside = position < lengths[:, None]
        flat = np.minimum(self.starts[chosen][:, None] + position, len(self.tokens) - 1)
        tokens = np.where(inside, self.tokens[flat].astype(np.int64), 0)
        first = self.prompts[chosen][:, None]
        weights = np.where((position >= first) & (first > 0), 1.0, PROMPT_WEIGHT)
        weights *= inside & (tokens != SlotVocabulary.unknown_token)
        return tokens, weights.astype(np.float32)


def batches(data: Encoded, tokens: int, batch_tokens: int, seed: int) -> list[IntArray]:
    """The examples of every step of a run that reads so many tokens, by the shares of their groups.

    Within a group no example comes again before all have come. A batch has texts of like length, at most
    ``batch_tokens`` with padding.
    """
    rng = np.random.default_rng(seed)
    lengths = data.lengths
    groups = np.array([group_of(kind) for kind in data.kinds])[data.kind]
    chosen: list[IntArray] = []
    for group, share in SHARES.items():
        members = np.flatnonzero((groups == group) & ~data.held_out)
        epochs = int(np.ceil(share * tokens / lengths[members].sum()))
        order = np.concatenate([rng.permutation(members) for _ in range(epochs)])
        chosen.append(order[: np.searchsorted(np.cumsum(lengths[order]), share * tokens)])
    order = rng.permutation(np.concatenate(chosen))
    found: list[IntArray] = []
    chunks = np.cumsum(lengths[order]) // (CHUNK * batch_tokens)
    for chunk in np.split(order, np.flatnonzero(np.diff(chunks)) + 1):
        of_chunk = cut(chunk[np.argsort(lengths[chunk], kind="stable")], lengths, batch_tokens)
        found += [of_chunk[int(place)] for place in rng.permutation(len(of_chunk))]
    return found


def cut(ordered: IntArray, lengths: IntArray, batch_tokens: int) -> list[IntArray]:
    """Parts of examples that are ordered by length, each of at most ``batch_tokens`` with padding."""
    parts: list[IntArray] = []
    first = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or (place + 1 - first) * lengths[ordered[place]] > batch_tokens:
            parts.append(ordered[first:place])
            first = place
    return parts


def count_by_kind(data: Encoded, *, held_out: bool) -> dict[str, int]:
    """How many examples of each kind are held out, or not."""
    counts = np.bincount(data.kind[data.held_out == held_out], minlength=len(data.kinds))
    return dict(zip(data.kinds, counts.tolist(), strict=True))
