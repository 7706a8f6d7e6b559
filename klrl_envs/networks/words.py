"""What the words of a text so far say, and what each next token would add: weights of words and of pairs.

Texts are told apart as a reader of the whole text would: by words, in lower case, wherever a tokenizer cuts
them. A word's key is a polynomial in its letters, so that a token that goes on with a word moves its key by
one product and one sum, and the spelling alone decides. Keys are looked up in one hashed table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from klrl_envs.reference.vocabulary import Vocabulary

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word, or a mark."""
GOES_ON = re.compile(r"['’]?\w+(?:['’]\w+)*")
"""A token that goes on with a word that stands open."""
LETTER = 0x2545F4914F6CDD1D
PAIR = 0x5851F42D4C957F2D
SPREAD = 0x9E3779B97F4A7C15 - (1 << 64)
"""Odd numbers without pattern: of a letter, of the first word of a pair, of the table."""
SAID = 4
"""What there is to say of a text so far."""
USUAL = 25.0
"""Words of a text; logarithms of their number are centred there."""


def signed(number: int) -> int:
    """The int64 that is equal modulo 2^64."""
    number %= 1 << 64
    return number - (1 << 64 if number >> 63 else 0)


def key_of(word: str) -> int:
    """The key of a word in lower case, int64; 0 of no word."""
    key = 0
    for letter in word:
        key = key * LETTER + ord(letter) + 1
    return signed(key)


def keys_of(words: Iterable[str]) -> NDArray[np.int64]:
    """Keys [K] of words in lower case."""
    return np.array([key_of(word) for word in words], dtype=np.int64)


def pair_keys(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys [K] of pairs of neighbours, of their words' keys [K]."""
    return first * np.int64(PAIR) + second


@dataclass(frozen=True)
class Words:
    """The words of N texts so far, of which the last may be unfinished.

    Attributes:
        current, before: int64 [N], keys of the last word and of the one before; 0 for none.
        open: bool [N], whether a token may go on with the last word.
        closed, last: float32 [N], what the words before the last, and the last, add to the sum.
        count: float32 [N], how many they are.
        begun: int64 [N], at which step the last one began.
        keys: int64 [N, 2 L], of the words and pairs before the last, 0 where there are none yet.
        alone: int64 [N, L], tokens that were a whole word when it was new; V where there are none.
        steps: tokens so far, those that add nothing counted.
    """

    current: Tensor
    before: Tensor
    open: Tensor
    closed: Tensor
    last: Tensor
    count: Tensor
    begun: Tensor
    keys: Tensor
    alone: Tensor
    steps: int

    @property
    def sums(self) -> Tensor:
        """The sums of what the words and pairs weigh, each once, [N]."""
        return self.closed + self.last


class WordEvidence(nn.Module):
    """Weights of words and of pairs of neighbouring words, and what their sum says of a reward.

    With s the sum over the set of the n words and marks of a text and of their pairs,

        logit = s / n^power + a + b log(n / 25) + c log(n / 25)^2.

    Of a token that holds several words or marks the last alone weighs something. Nothing is trained by
    gradient: the weights are somebody's model of the reward.

    Args:
        vocabulary: of the tokens.
        bits: the table has 2^bits weights; of two words or pairs that have the same place the lighter is
            forgotten.
        device: of the weights.

    Attributes:
        table: float32 [2^bits, 2], weights, and 24 bits of whose they are.
        calibration: float32 [4], the power, a, b and c.
    """

    table: Tensor
    calibration: Tensor
    add: Tensor
    multiply: Tensor
    opens: Tensor
    size: Tensor
    silent: Tensor
    joining: Tensor
    joins: Tensor
    twins: Tensor

    def __init__(self, vocabulary: Vocabulary, bits: int, *, device: str | None = None) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("table", torch.zeros((1 << bits, 2), device=device))
        self.register_buffer("calibration", torch.tensor([0.5, 0.0, 0.0, 0.0], device=device))
        for name, values in token_tables(vocabulary).items():
            self.register_buffer(name, values, persistent=False)

    @torch.no_grad()
    def set(
        self, keys: NDArray[np.int64], weights: NDArray[np.floating], calibration: Iterable[float]
    ) -> None:
        """Take the weights [K] of keys [K], of those in one place the heaviest, and the calibration."""
        order = np.argsort(np.abs(weights))
        sorted_keys = torch.as_tensor(keys[order])
        table = np.zeros(self.table.shape, dtype=np.float32)
        # the last of equal places stays
        table[self._places(sorted_keys).numpy()] = np.stack(
            (weights[order], self._checks(sorted_keys)), axis=1
        )
        self.table.copy_(torch.as_tensor(table))
        self.calibration.copy_(torch.tensor(list(calibration)))

    def none(self, count: int, length: int) -> Words:
        """N texts without tokens, which have room for ``length`` tokens."""
        device = self.table.device
        keys, sums = (torch.zeros(count, dtype=kind, device=device) for kind in (torch.int64, torch.float32))
        return Words(
            current=keys,
            before=keys,
            open=keys > 0,
            closed=sums,
            last=sums,
            count=sums,
            begun=keys,
            keys=keys.new_zeros((count, 2 * length)),
            alone=keys.new_full((count, length), len(self.add)),
            steps=0,
        )

    def append(self, words: Words, tokens: Tensor, active: Tensor | None = None) -> Words:
        """Texts that go on by tokens [N]; those that are not ``active`` bool [N] stay, one step on."""
        silent = self.silent[tokens] if active is None else self.silent[tokens] | ~active
        joins = words.open & self.joins[tokens] & ~silent
        begins = ~joins & ~silent
        current = torch.where(joins, words.current * self.multiply[tokens], 0) + self.add[tokens]
        before = torch.where(begins, words.current, words.before)
        keys, alone = words.keys.clone(), words.alone.clone()
        ended = torch.stack((words.current, self._pairs(words.before, words.current)), dim=1)
        keys[:, 2 * words.steps : 2 * words.steps + 2] = torch.where(begins[:, None], ended, 0)
        pair = self._pairs(before, current)
        new, new_pair = (~(keys == each[:, None]).any(dim=1) for each in (current, pair))
        last = self._weights(current) * new + self._weights(pair) * (new_pair & (before != 0))
        alone[:, words.steps] = torch.where(begins & new, tokens, len(self.add))
        # a word that goes on was no word of one token
        alone.masked_fill_(joins[:, None] & (self._steps(alone) == words.begun[:, None]), len(self.add))
        stays = silent if active is None else silent & active
        return Words(
            current=torch.where(silent, words.current, current),
            before=torch.where(silent, words.before, before),
            open=torch.where(silent, words.open & ~stays, self.opens[tokens]),
            closed=words.closed + words.last * begins,
            last=torch.where(silent, words.last, last),
            count=words.count + self.size[tokens] * begins,
            begun=torch.where(begins, words.steps, words.begun),
            keys=keys,
            alone=alone,
            steps=words.steps + 1,
        )

    def gains(self, words: Words) -> tuple[Tensor, Tensor]:
        """What each next token adds to the sum, and whether it begins a word, float and bool [N, V]."""
        alone = self._weights(self.add)
        pairs = self._weights(self._pairs(words.current[:, None], self.add))
        sums = torch.addcmul(alone, pairs, (words.current != 0)[:, None].float())
        # a word that is there already, as one token, weighs no second time
        row, place = (words.alone < len(alone)).nonzero().unbind(1)
        twins = self.twins[words.alone[row, place]]
        there = twins < len(alone)
        row, again = row[:, None].expand_as(twins)[there], twins[there]
        sums[row, again] -= alone[again]
        joined = words.current[:, None] * self.multiply[self.joining] + self.add[self.joining]
        inside = self._weights(self._pairs(words.before[:, None], joined)) * (words.before != 0)[:, None]
        inside += self._weights(joined) - words.last[:, None]
        sums[:, self.joining] = torch.where(words.open[:, None], inside, sums[:, self.joining])
        return sums, ~self.silent & ~(words.open[:, None] & self.joins)

    def changes(self, words: Words) -> tuple[Tensor, Tensor]:
        """By how much each next token changes the logit, and the reward in [0, 1]; [N, V] each."""
        sums, begins = self.gains(words)
        slope, base = (each[:, None] for each in self._line(words.count))
        next_slope, next_base = (each[:, None] for each in self._line(words.count + 1))
        now = torch.addcmul(base, slope, words.sums[:, None])
        sums += words.sums[:, None]
        later = torch.where(begins, next_base, base).addcmul_(sums, torch.where(begins, next_slope, slope))
        return later - now, later.sigmoid() - now.sigmoid()

    def said(self, words: Words, longest: int) -> Tensor:
        """What there is to say of texts of at most ``longest`` tokens, [N, SAID].

        The sum, as it counts in the logit; the logit and the reward, if nothing were to come; the words.
        """
        logits = self.logits(words.sums, words.count)
        scaled = words.sums * words.count.clamp_min(1) ** -self.calibration[0]
        return torch.stack((scaled, logits, logits.sigmoid(), words.count / longest), dim=-1)

    def logits(self, sums: Tensor, count: Tensor) -> Tensor:
        """The formula above, of sums [...] and numbers of words [...]."""
        slope, base = self._line(count)
        return sums * slope + base

    def _line(self, count: Tensor) -> tuple[Tensor, Tensor]:
        """The logits' slope in the sum, and what they are without it, of numbers of words [...]."""
        power, level, first, second = self.calibration
        count = count.clamp_min(1.0)
        logarithm = (count / USUAL).log()
        return count**-power, level + (first + second * logarithm) * logarithm

    def _steps(self, values: Tensor) -> Tensor:
        """Which step each of values [N, L] is of, [L]."""
        return torch.arange(values.shape[1], device=values.device)

    def _pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return first * PAIR + second

    def _places(self, keys: Tensor) -> Tensor:
        return (keys * SPREAD >> (64 - self.bits)) & ((1 << self.bits) - 1)

    def _checks(self, keys: Tensor) -> Tensor:
        return ((keys >> 7) & 0xFFFFFF).float()

    def _weights(self, keys: Tensor) -> Tensor:
        """Of keys [...]; 0 of those that are not known."""
        # a weight and its check in one piece of memory, taken as one number
        pieces = self.table.view(torch.int64)[:, 0].index_select(0, self._places(keys).flatten())
        found = pieces.view(torch.float32).view(*keys.shape, 2)
        return found[..., 0] * (found[..., 1] == self._checks(keys))


def read_words(evidence: WordEvidence, tokens: Tensor, lengths: Tensor, room: int) -> Words:
    """The words of texts tokens [N, L], of which lengths [N] count, with room for as many tokens in all."""
    words = evidence.none(len(tokens), room)
    for place in range(int(lengths.max())):
        column = tokens[:, place].clamp_max(len(evidence.add) - 1)  # padding may be V
        words = evidence.append(words, column, place < lengths)
    return words


def chosen(parts: Sequence[Words], mask: Tensor) -> Words:
    """Of texts after each of T steps those that bool [N, T] says, one after another, as M texts."""
    names = [field.name for field in fields(Words) if field.name != "steps"]
    values = {name: torch.stack([getattr(part, name) for part in parts], dim=1)[mask] for name in names}
    return Words(**values, steps=parts[-1].steps)


def token_tables(vocabulary: Vocabulary) -> dict[str, Tensor]:
    """What each of the V tokens does to the last word: see the attributes of ``WordEvidence``."""
    add: list[int] = []
    multiply: list[int] = []
    opens: list[bool] = []
    size: list[float] = []
    silent: list[bool] = []
    joins: list[bool] = []
    before = next(token for token in range(vocabulary.size) if vocabulary.decode([token]).isalpha())
    begun = len(vocabulary.decode([before]))
    for token in range(vocabulary.size):
        # behind a letter, as some tokenizers leave out a space that stands first
        text = vocabulary.decode([before, token])[begun:].lower()
        pieces = WORD.findall(text)
        goes_on = GOES_ON.fullmatch(text) is not None
        add.append(key_of(text if goes_on else pieces[-1]) if pieces else 0)
        multiply.append(signed(pow(LETTER, len(text), 1 << 64)) if goes_on else 0)
        opens.append(bool(pieces) and (text[-1].isalnum() or text[-1] == "_"))
        size.append(1.0 if goes_on else float(len(pieces)))
        silent.append(not pieces)
        joins.append(goes_on)
    twins: dict[int, list[int]] = {}
    for token, key in enumerate(add):
        twins.setdefault(key, []).append(token)
    most = max(len(same) for key, same in twins.items() if key)
    same = [twins[key] if key else [] for key in add]
    return {
        "twins": torch.tensor([row + [len(add)] * (most - len(row)) for row in same]),
        "add": torch.tensor(add),
        "multiply": torch.tensor(multiply),
        "opens": torch.tensor(opens),
        "size": torch.tensor(size),
        "silent": torch.tensor(silent),
        "joins": torch.tensor(joins),
        "joining": torch.tensor(joins).nonzero()[:, 0],
    }
