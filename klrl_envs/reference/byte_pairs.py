"""The byte-pair vocabulary of ``nano``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from klrl_envs.assets import asset_path

REPLACEMENT = "\ufffd"


class BytePairVocabulary:
    """Byte-level BPE read from a ``tokenizer.json``; token 0 ends a text and is never shown.

    Decoding is a table look-up and needs no tokenizer library; encoding loads ``tokenizers``.
    """

    end_token = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        vocabulary: dict[str, int] = json.loads(path.read_text("utf-8"))["model"]["vocab"]
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
        self._pieces = dict.fromkeys(range(len(vocabulary)), b"")
        for piece, token in vocabulary.items():
            if token != self.end_token:
                self._pieces[token] = bytes(byte_of[character] for character in piece)

    @property
    def size(self) -> int:
        """Number of tokens V, the end token included."""
        return len(self._pieces)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: a token is out of range.
        """
        try:
            joined = b"".join(map(self._pieces.__getitem__, tokens))
        except KeyError as error:
            raise ValueError(f"token is {error}, allowed: 0 to {self.size - 1}") from None
        return joined.decode("utf-8", errors="replace")

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; every text can be written."""
        return self._tokenizer.encode(text).ids

    def least_tokens(self, text: str) -> int:
        """The fewest tokens that may have been decoded to a text.

        ``encode`` has often more: who writes token by token need not spell as it does, and U+FFFD, three
        tokens to it, is one token where that ends within a character.
        """
        symbols, longest = as_symbols(text), max(map(len, self._spelled))
        fewest = [0] * (len(symbols) + 1)
        for end in range(1, len(symbols) + 1):
            begins = range(max(0, end - longest), end)
            fewest[end] = 1 + min(fewest[begin] for begin in begins if symbols[begin:end] in self._spelled)
        return fewest[-1]

    def token_string(self, token: int) -> str:
        """One token as it is listed.

        Raises:
            ValueError: the token is out of range.
        """
        if not 0 <= token < self.size:
            raise ValueError(f"token is {token}, allowed: 0 to {self.size - 1}")
        return "<end>" if token == self.end_token else self.decode([token])

    @cached_property
    def _spelled(self) -> frozenset[str]:
        """What a token may be of a text, in the symbols of ``as_symbols``: its bytes, or its own text."""
        pieces = [piece for piece in self._pieces.values() if piece]
        as_bytes = {piece.decode("latin-1") for piece in pieces}
        return frozenset(as_bytes | {as_symbols(piece.decode("utf-8", errors="replace")) for piece in pieces})

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._path))


def as_symbols(text: str) -> str:
    """A text's UTF-8 bytes as characters below 256, but U+FFFD as itself: it stands for bytes unknown."""
    return "".join(
        character if character == REPLACEMENT else character.encode().decode("latin-1") for character in text
    )


def byte_alphabet() -> list[str]:
    """The printable character that byte-level BPE writes for each of the 256 bytes.

    Printable Latin-1 stands for itself; the other bytes, in order, take the code points from 256 on
    (Radford et al. 2019, GPT-2).
    """
    itself = {*range(33, 127), *range(161, 173), *range(174, 256)}
    characters: list[str] = []
    spare = 256
    for byte in range(256):
        if byte in itself:
            characters.append(chr(byte))
        else:
            characters.append(chr(spare))
            spare += 1
    return characters


@lru_cache(maxsize=1)
def nano_vocabulary() -> BytePairVocabulary:
    """The vocabulary of the shipped transformer."""
    return BytePairVocabulary(asset_path("nano.tokenizer.json"))
