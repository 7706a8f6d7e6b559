"""``sums``, the small transformer of word problems: its vocabulary and its weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from klrl_envs.assets import asset_digest
from klrl_envs.reference.transformer import START_TOKEN, TransformerReference, load_transformer
from klrl_envs.reference.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from klrl_envs.reference.nano import Nano, NanoConfig

FILE = "sums.safetensors"
END_TOKEN = START_TOKEN
_LISTED = (
    "<end> 0 1 2 3 4 5 6 7 8 9 + - * / = . ? "
    "Tom Ben Sam Max Leo Ali Ann Eva Mia Zoe Amy Ida He She "
    "apples pears eggs books coins shells cards stamps pens nuts cups boxes bags bowls "
    "has have with in each of them half away as many again more gives "
    "buys finds gets makes loses sells drops uses "
    "How do does and together now The the answer is First Then So That"
)
WORDS = tuple(_LISTED.split())
"""The tokens. Numbers are written digit by digit."""
CONTEXT = 112
WIDTH = 96

_BETWEEN_DIGITS = re.compile(r"(?<=\d) (?=\d)")


class SumsVocabulary(WordVocabulary):
    """Words and marks, and numbers digit by digit: neighbouring digits are one number."""

    def decode(self, tokens: Sequence[int]) -> str:
        """See ``WordVocabulary.decode``; no space between digits."""
        return _BETWEEN_DIGITS.sub("", super().decode(tokens))

    def _tokens_of(self, word: str) -> list[int]:
        parts = list(word) if word.isdigit() and word.isascii() else [word]
        return [token for part in parts for token in super(SumsVocabulary, self)._tokens_of(part)]


@lru_cache(maxsize=1)
def sums_vocabulary() -> SumsVocabulary:
    """The vocabulary of word problems."""
    return SumsVocabulary(WORDS, END_TOKEN)


def sums_config() -> NanoConfig:
    """The shape of the network."""
    from klrl_envs.reference.nano import NanoConfig

    return NanoConfig(vocab_size=len(WORDS), width=WIDTH, layers=3, heads=3, hidden=256, context=CONTEXT)


def reference_of(load: Callable[[], Nano], fingerprint: str) -> TransformerReference:
    """A network of this shape as pi0; see ``TransformerReference``."""
    return TransformerReference(
        load, name="sums", fingerprint=fingerprint, vocab_size=len(WORDS), width=WIDTH, context=CONTEXT
    )


@lru_cache(maxsize=1)
def sums_reference() -> TransformerReference:
    """The shipped reference."""
    return reference_of(lambda: load_transformer(FILE, sums_config()), asset_digest(FILE))
