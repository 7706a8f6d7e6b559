"""Vocabularies: what token ids mean as text. The ids are the truth, the text is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]|_")
_NO_SPACE_BEFORE = frozenset(".,!?;:)]}%…")
_NO_SPACE_AFTER = frozenset("([{$")


@runtime_checkable
class Vocabulary(Protocol):
    """Token ids 0..size-1 and their text."""

    @property
    def size(self) -> int:
        """Number of tokens V."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids, end tokens skipped."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; ValueError where the text cannot be written in this vocabulary."""
        ...

    def least_tokens(self, text: str) -> int:
        """The fewest tokens that may have been decoded to a text; as ``encode``, no more than it has."""
        ...

    def token_string(self, token: int) -> str:
        """One token as it is listed, the end token included."""
        ...


@runtime_checkable
class PromptVocabulary(Vocabulary, Protocol):
    """A vocabulary whose tokens mean something else without the prompt, so that a text is cut as a text.

    It writes the spaces between words itself.
    """

    def after(self, prompt: str) -> PromptVocabulary:
        """The vocabulary of what is written behind a prompt, which is part of no text there."""
        ...

    def beginning(self, text: str, tokens: int) -> str:
        """The longest part of a text from its beginning that has at most so many tokens."""
        ...


class WordVocabulary:
    """A list of words and marks, written with English spacing.

    Args:
        words: the tokens' strings, distinct; the position is the id.
        end_token: the id that ends a text and is never shown, or None.

    Raises:
        ValueError: repeated or empty words, or an end token out of range.
    """

    def __init__(self, words: tuple[str, ...], end_token: int | None) -> None:
        self.words = tuple(words)
        self.end_token = end_token
        self._index = {word: token for token, word in enumerate(self.words)}
        self._word_of = dict(enumerate(self.words))
        if len(self._index) != len(self.words):
            repeated = sorted({word for word in self.words if self.words.count(word) > 1})
            raise ValueError(f"words must be distinct, seen more than once: {repeated[:5]}")
        if "" in self._index:
            raise ValueError(f"words must not be empty, word {self._index['']} is")
        if end_token is not None and not 0 <= end_token < len(self.words):
            raise ValueError(f"end_token is {end_token}, allowed: None or 0 to {len(self.words) - 1}")

    @property
    def size(self) -> int:
        """Number of tokens V, the end token included."""
        return len(self.words)

    def token_string(self, token: int) -> str:
        """The word of a token id.

        Raises:
            ValueError: the token is out of range.
        """
        if not 0 <= token < len(self.words):
            raise ValueError(f"token is {token}, allowed: 0 to {len(self.words) - 1}")
        return self.words[token]

    def decode(self, tokens: Sequence[int]) -> str:
        """The words joined: no space before marks, none after an opening bracket or quotation mark.

        Raises:
            ValueError: a token is out of range.
        """
        if self._plain and self.end_token is None:
            try:
                return " ".join(map(self._word_of.__getitem__, tokens))
            except KeyError as error:
                raise ValueError(f"token is {error}, allowed: 0 to {self.size - 1}") from None
        if self._simple.issuperset(tokens):
            text = "".join(map(self._spaced.__getitem__, tokens))
            return text[1:] if text.startswith(" ") else text
        pieces: list[str] = []
        quoted = False
        glue = True
        for token in tokens:
            if token == self.end_token:
                continue
            word = self.token_string(int(token))
            closes = word == '"' and quoted
            if not (glue or closes or _clings(word)):
                pieces.append(" ")
            pieces.append(word)
            if word == '"':
                quoted = not quoted
            glue = word in _NO_SPACE_AFTER or (word == '"' and quoted)
        return "".join(pieces)

    @cached_property
    def _spaced(self) -> dict[int, str]:
        """The words with the space before them, where they have one; the end token as nothing."""
        spaced = {token: word if _clings(word) else f" {word}" for token, word in enumerate(self.words)}
        return spaced if self.end_token is None else spaced | {self.end_token: ""}

    @cached_property
    def _simple(self) -> frozenset[int]:
        """Tokens whose space does not depend on what was written before, unless they are the first."""
        return frozenset(
            token
            for token, word in enumerate(self.words)
            if token == self.end_token or not (word == '"' or word in _NO_SPACE_AFTER or word[0] == " ")
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, in lower case where a word as it is written is not listed.

        Raises:
            ValueError: a word is not in the vocabulary.
        """
        return [token for word in self._pattern.findall(text) for token in self._tokens_of(word)]

    def least_tokens(self, text: str) -> int:
        """As many as ``encode`` has."""
        return len(self.encode(text))

    @cached_property
    def _plain(self) -> bool:
        """Whether no word has spacing rules of its own, so that a text is its words with spaces."""
        return not any(_clings(word) or word in _NO_SPACE_AFTER or word == '"' for word in self.words)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        unusual = sorted((w for w in self.words if not _TOKEN.fullmatch(w)), key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, unusual), _TOKEN.pattern]))

    def _tokens_of(self, word: str) -> list[int]:
        for candidate in (word, word.lower()):
            if candidate in self._index:
                return [self._index[candidate]]
        lowered = word.lower()
        for cut in range(1, len(lowered)):
            head, tail = lowered[:cut], lowered[cut:]
            if _clings(tail) and head in self._index and tail in self._index:
                return [self._index[head], self._index[tail]]
        raise ValueError(f"{word!r} is not among the {self.size} words of this vocabulary")


class SymbolVocabulary(WordVocabulary):
    """Symbols that are written without spaces, such as digits; a text is read by its longest symbols first.

    Args:
        symbols, end_token: as the words of ``WordVocabulary``.
    """

    def decode(self, tokens: Sequence[int]) -> str:
        """The symbols joined.

        Raises:
            ValueError: a token is out of range.
        """
        return "".join(self.token_string(int(token)) for token in tokens if token != self.end_token)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text.

        Raises:
            ValueError: a part of the text is no symbol.
        """
        pieces = self._symbols.findall(text)
        if "".join(pieces) != text:
            raise ValueError(f"{text!r} is not written in the {self.size} symbols of this vocabulary")
        return [self._index[piece] for piece in pieces]

    @cached_property
    def _symbols(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.words, key=len, reverse=True))))


class ConversationVocabulary(WordVocabulary):
    """Words of two speakers in turn, a line each: "user: Hello.", "shop: Which genre?".

    Some words end a line, and the other one speaks. A text begins with the first speaker's line.

    Args:
        words: as of ``WordVocabulary``.
        closings: those of them that end a line, such as "." or "?".
        speakers: the names of the two.
    """

    def __init__(self, words: tuple[str, ...], closings: Sequence[str], speakers: tuple[str, str]) -> None:
        super().__init__(words, None)
        self.speakers = speakers
        self._closings = frozenset(self._index[word] for word in closings)

    def decode(self, tokens: Sequence[int]) -> str:
        """The lines, each with its speaker's name and a capital letter.

        Raises:
            ValueError: a token is out of range.
        """
        lines: list[list[int]] = [[]]
        for token in tokens:
            lines[-1].append(int(token))
            if lines[-1][-1] in self._closings:
                lines.append([])
        said = [super(ConversationVocabulary, self).decode(line) for line in lines if line]
        return "\n".join(
            f"{self.speakers[number % 2]}: {line[:1].upper()}{line[1:]}" for number, line in enumerate(said)
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of lines, with or without their speakers' names.

        Raises:
            ValueError: a word is not in the vocabulary.
        """
        tokens: list[int] = []
        for line in text.split("\n"):
            name, colon, said = line.partition(":")
            tokens += super().encode(said if colon and name.strip() in self.speakers else line)
        return tokens


def _clings(word: str) -> bool:
    """Whether English writes the word without a space before it ("," or "'s" or "n't")."""
    return word in _NO_SPACE_BEFORE or word[0] == "'" or word == "n't"
