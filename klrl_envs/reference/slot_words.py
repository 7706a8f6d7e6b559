"""Words and slots: common words have tokens of their own, a prompt's rarer words share a few slot tokens.

A rarer word of the prompt takes the next free slot when it first appears and keeps it, in the answer too, so
that a network copies a name without knowing it. What has neither token nor slot is the unknown token.

A text is words (runs of letters and digits), marks (such as ``"\\nSynopsis: "``, one token each) and
separators (all that stands between words, spaces included: ``", "`` or ``"-"`` or ``" ("``). A single space
between two words is not written. So spacing needs no rules, and a text of known words is decoded to itself,
letter by letter. A common word with an uncommon capital is the capital's token and its own.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

UNKNOWN_TEXT = "\ufffd"
END, UNKNOWN, CAPITAL = range(3)
_WORD = r"[^\W_]+"


class SlotVocabulary:
    """Words, marks, separators and slots. The ids are, in this order: the end of a text (0), the unknown word
    (1), the capital (2), ``fields``, ``answers``, slots, ``separators``, ``words``.

    Args:
        fields: marks that stand within a prompt, such as ``"\\nSection: "``.
        answers: marks that end a prompt: behind the first of them no word takes a slot. All marks begin with
            a line break, which no separator has.
        slots: how many there are.
        separators: strings without letters, digits or line breaks, and every character of them by itself, so
            that all runs of them can be written; in as few as will do.
        words: letters and digits.
        prompts: texts, each with an answer mark at its end, whose slots ``decode`` fills in.

    Raises:
        ValueError: a mark, separator or word is none, or is there twice; or two prompts have the same tokens
            and are not the same.
    """

    end_token = END
    unknown_token = UNKNOWN

    def __init__(
        self,
        *,
        fields: Sequence[str],
        answers: Sequence[str],
        slots: int,
        separators: Sequence[str],
        words: Sequence[str],
        prompts: Sequence[str] = (),
    ) -> None:
        self.fields, self.answers, self.slots = tuple(fields), tuple(answers), slots
        self.separators, self.words = tuple(separators), tuple(words)
        names = ["<end>", UNKNOWN_TEXT, "<capital>", *fields, *answers]
        self.first_slot = len(names)
        names += [f"<{number}>" for number in range(1, slots + 1)]
        self.first_word = len(names) + len(self.separators)
        self._names = (*names, *self.separators, *self.words)
        self._index = {name: token for token, name in enumerate(self._names)}
        self._answer_tokens = frozenset(self._index[mark] for mark in self.answers)
        self._check()
        self._given: tuple[str, ...] | None = None  # the words of the slots, behind a prompt
        self._prompts: dict[tuple[int, ...], tuple[str, tuple[str, ...]]] = {}
        for text in prompts:
            self._learn(text)

    def _check(self) -> None:
        if len(self._index) != len(self._names):
            raise ValueError("marks, separators and words must be distinct")
        wrong = [mark for mark in (*self.fields, *self.answers) if mark[:1] != "\n"]
        wrong += [each for each in self.separators if not each or re.search(rf"{_WORD}|\n", each)]
        single = {each for each in self.separators if len(each) == 1}
        wrong += [each for each in self.separators if not single.issuperset(each)]
        wrong += [word for word in self.words if not re.fullmatch(_WORD, word)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no mark, separator or word as this vocabulary has them")

    @classmethod
    def load(cls, path: Path) -> SlotVocabulary:
        """A vocabulary from the file that ``save`` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))

    def save(self, path: Path) -> None:
        """Write all but the prompts as JSON."""
        parts = {name: getattr(self, name) for name in ("fields", "answers", "slots", "separators", "words")}
        path.write_text(json.dumps(parts, ensure_ascii=False, indent=0) + "\n", "utf-8")

    def with_prompts(self, prompts: Sequence[str]) -> SlotVocabulary:
        """The same vocabulary, which decodes what follows these prompts with their words in the slots."""
        return SlotVocabulary(
            fields=self.fields,
            answers=self.answers,
            slots=self.slots,
            separators=self.separators,
            words=self.words,
            prompts=prompts,
        )

    def after(self, prompt: str) -> SlotVocabulary:
        """The vocabulary of what is written behind a prompt, whose words have the slots where it is known."""
        behind = copy.copy(self)
        known = self._prompts.get(tuple(self.encode(prompt)), ("", ()))
        behind._given = known[1] if known[0] == prompt else ()
        return behind

    @property
    def size(self) -> int:
        """Number of tokens V."""
        return len(self._names)

    def token_string(self, token: int) -> str:
        """One token as it is listed.

        Raises:
            ValueError: the token is out of range.
        """
        if not 0 <= token < self.size:
            raise ValueError(f"token is {token}, allowed: 0 to {self.size - 1}")
        place, given = token - self.first_slot, self._given or ()
        return given[place] if 0 <= place < len(given) else self._names[token]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; what stands before the first answer mark gives words to the slots.

        Every text can be written, though what is neither word nor slot is written as unknown.
        """
        return self._encoded(text)[0]

    def slot_words(self, text: str) -> tuple[str, ...]:
        """The words that have the slots of a text, in the order of the slots."""
        return tuple(self._encoded(text)[1])

    def prompt_length(self, tokens: Sequence[int]) -> int:
        """Tokens up to the first answer mark, with it; 0 where there is none."""
        return next((place + 1 for place, token in enumerate(tokens) if token in self._answer_tokens), 0)

    def least_tokens(self, text: str) -> int:
        """The fewest tokens that may have been decoded to a text: a word is at least one."""
        pieces = self._pieces(text)
        return sum(1 if is_word else len(self._run(piece)) for piece, _, is_word in pieces)

    def beginning(self, text: str, tokens: int) -> str:
        """A text, where it has at most so many tokens, else what fits, up to the end of a word."""
        end = 0
        seen, growing = self._slots_given()
        for piece, after, is_word in self._pieces(text):
            tokens -= len(self._word(piece, seen, growing) if is_word else self._run(piece))
            if tokens < 0:
                return text[:end]
            end = after if is_word else end
        return text

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids. Behind a known prompt the slots are its words, else they show their numbers.

        Raises:
            ValueError: a token is out of range.
        """
        length = self.prompt_length(tokens)
        text, slots = self._prompts.get(tuple(tokens[:length]), ("", self._given or ()))
        return text + self.decode_with(tokens[length:] if text else tokens, slots)

    def decode_with(self, tokens: Sequence[int], slots: Sequence[str]) -> str:
        """Text of token ids with given words in the first slots.

        Raises:
            ValueError: a token is out of range.
        """
        pieces: list[str] = []
        after_word = capital = False
        for token in tokens:
            if token == END:
                continue
            if token == CAPITAL:
                capital = True
                continue
            piece = self.token_string(token)
            place = token - self.first_slot
            if 0 <= place < len(slots):
                piece = slots[place]
            is_word = token == UNKNOWN or token >= self.first_word or 0 <= place < self.slots
            if is_word:
                if after_word:
                    pieces.append(" ")
                if capital:
                    piece = piece[0].upper() + piece[1:]
            pieces.append(piece)
            after_word, capital = is_word, False
        return "".join(pieces)

    def _learn(self, prompt: str) -> None:
        tokens, slots = self._encoded(prompt)
        key, entry = tuple(tokens), (prompt, tuple(slots))
        if not prompt.endswith(self.answers) or sum(token in self._answer_tokens for token in tokens) != 1:
            raise ValueError(f"a prompt must have one answer mark, at its end, got {prompt!r}")
        if self._prompts.setdefault(key, entry) != entry:
            raise ValueError(f"prompts must differ in their tokens, which those of {prompt!r} do not")

    def _encoded(self, text: str) -> tuple[list[int], dict[str, int]]:
        """Token ids, and word -> token of the slots."""
        tokens: list[int] = []
        slots, growing = self._slots_given()
        for piece, _, is_word in self._pieces(text):
            tokens += self._word(piece, slots, growing) if is_word else self._run(piece)
            growing = growing and piece not in self.answers
        return tokens, slots

    def _slots_given(self) -> tuple[dict[str, int], bool]:
        """Word -> token of the slots that a prompt has filled, and whether further words may take some."""
        given = {word: self.first_slot + place for place, word in enumerate(self._given or ())}
        return given, self._given is None

    def _word(self, word: str, slots: dict[str, int], growing: bool) -> tuple[int, ...]:
        """The tokens of a word, which takes a slot if it must and may."""
        found = self._index.get(word, slots.get(word))
        if found is not None:
            return (found,)
        small = word[0].lower() + word[1:]
        found = self._index.get(small, slots.get(small))
        if found is not None and small != word and small[0].upper() + small[1:] == word:
            return (CAPITAL, found)
        if growing and len(slots) < self.slots:
            slots[word] = self.first_slot + len(slots)
            return (slots[word],)
        return (UNKNOWN,)

    def _pieces(self, text: str) -> Iterator[tuple[str, int, bool]]:
        """The words, marks and separators of a text: string, where it ends, and whether it is a word.

        A single space between words is none. What is in no separator counts as a word.
        """
        for found in self._pattern.finditer(text):
            if found.lastgroup != "space":
                yield found[0], found.end(), found.lastgroup == "word"

    def _run(self, piece: str) -> tuple[int, ...]:
        """The tokens of a mark or of a run of separators."""
        return (self._index[piece],) if piece in self._index else self._shortest(piece)

    @cached_property
    def _shortest(self) -> _Shortest:
        return _Shortest({each: self._index[each] for each in self.separators})

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        single = re.escape("".join(each for each in self.separators if len(each) == 1))
        marks = "|".join(map(re.escape, (*self.fields, *self.answers)))
        parts = [f"(?P<mark>{marks})"] if marks else []
        if single:
            parts.append(f"(?P<space>(?<=[^{single}]) (?=[^{single}\n]))|(?P<run>[{single}]+)")
        return re.compile("|".join((*parts, f"(?P<word>{_WORD}|.)")), re.DOTALL)


class _Shortest:
    """Runs of separators in the fewest tokens; of equally short ways the one whose first part is longest."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = tokens
        self._longest = max(map(len, tokens), default=0)
        self._find = lru_cache(maxsize=4096)(self._search)

    def __call__(self, run: str) -> tuple[int, ...]:
        return self._find(run)

    def _search(self, run: str) -> tuple[int, ...]:
        best: list[tuple[int, ...]] = [()]  # of the last k characters
        for length in range(1, len(run) + 1):
            rest = run[len(run) - length :]
            ways = [
                (self._tokens[rest[:size]], *best[length - size])
                for size in range(min(length, self._longest), 0, -1)
                if rest[:size] in self._tokens
            ]
            best.append(min(ways, key=len))
        return best[-1]
