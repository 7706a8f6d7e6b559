"""Regular expressions over tokens, and their derivatives.

An expression is a nested tuple in a normal form, so that equal ones are equal tuples and every expression
has finitely many derivatives (Brzozowski 1964, "Derivatives of regular expressions", theorem 5.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

Expression = tuple[Any, ...]

NOTHING: Expression = ("none",)  # matches no text
EMPTY: Expression = ("empty",)  # matches the empty text
LEXICAL = re.compile(
    r'\s*(?:"((?:[^"\\]|\\.)*)"|(\[\^?)|(\{\d*,?\d*\})|([.|()*+?\]])|([^\s.|()*+?\[\]{}"]+))'
)
MOST_REPEATS = 1_000


def one_of(tokens: frozenset[int], negated: bool = False) -> Expression:
    """A single token that is among ``tokens``, or is not."""
    return NOTHING if not tokens and not negated else ("token", tokens, negated)


def sequence(first: Expression, second: Expression) -> Expression:
    """First, then second."""
    if NOTHING in (first, second):
        return NOTHING
    if first == EMPTY:
        return second
    if second == EMPTY:
        return first
    if first[0] == "sequence":  # to the right
        return ("sequence", first[1], sequence(first[2], second))
    return ("sequence", first, second)


def either(*parts: Expression) -> Expression:
    """One of the parts, without order and repetition."""
    flat: set[Expression] = set()
    for part in parts:
        flat |= part[1] if part[0] == "either" else {part}
    flat.discard(NOTHING)
    if len(flat) < 2:
        return next(iter(flat), NOTHING)
    return ("either", frozenset(flat))


def repeat(part: Expression) -> Expression:
    """Any number of times."""
    if part in (NOTHING, EMPTY):
        return EMPTY
    return part if part[0] == "repeat" else ("repeat", part)


@lru_cache(maxsize=1 << 16)
def nullable(expression: Expression) -> bool:
    """Whether the empty text matches."""
    kind = expression[0]
    if kind == "sequence":
        return nullable(expression[1]) and nullable(expression[2])
    if kind == "either":
        return any(nullable(part) for part in expression[1])
    return kind in ("empty", "repeat")


@lru_cache(maxsize=1 << 18)
def derivative(expression: Expression, token: int | None) -> Expression:
    """What is left to match after a token; None stands for any token that the expression does not name."""
    kind = expression[0]
    if kind == "token":
        return EMPTY if (token in expression[1]) != expression[2] else NOTHING
    if kind == "sequence":
        first, second = expression[1:]
        taken = sequence(derivative(first, token), second)
        return either(taken, derivative(second, token)) if nullable(first) else taken
    if kind == "either":
        return either(*(derivative(part, token) for part in expression[1]))
    if kind == "repeat":
        return sequence(derivative(expression[1], token), expression)
    return NOTHING


def symbols(expression: Expression) -> set[int]:
    """The tokens that an expression names."""
    if expression[0] == "token":
        return set(expression[1])
    parts = expression[1] if expression[0] == "either" else expression[1:]
    return set[int]().union(*(symbols(part) for part in parts))


def parse(pattern: str, tokens: Mapping[str, int]) -> Expression:
    """The expression that a pattern means; see ``automata.from_expression`` for how it is written.

    Raises:
        ValueError: the pattern cannot be read, or names a word that is not in ``tokens``.
    """
    return _Parser(pattern, tokens).whole()


class _Parser:
    """Recursive descent: alternatives of sequences of repeated atoms."""

    def __init__(self, pattern: str, tokens: Mapping[str, int]) -> None:
        self._pattern = pattern
        self._tokens = tokens
        self._lexemes: list[tuple[str, str]] = []
        self._place = 0
        end = 0
        while pattern[end:].strip():
            found = LEXICAL.match(pattern, end)
            if found is None:
                raise ValueError(f"pattern {pattern!r} cannot be read from {pattern[end:].strip()!r} on")
            end = found.end()
            quoted, bracket, count, operator, word = found.groups()
            if quoted is not None or word is not None:
                text = word if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                self._lexemes.append(("word", text))
            else:
                self._lexemes.append(("operator", bracket or count or operator))

    def whole(self) -> Expression:
        """All of the pattern."""
        result = self._alternatives()
        if self._place < len(self._lexemes):
            raise ValueError(f"pattern {self._pattern!r} has a {self._lexemes[self._place][1]!r} too many")
        return result

    def _next(self) -> tuple[str, str] | None:
        return self._lexemes[self._place] if self._place < len(self._lexemes) else None

    def _take(self, *operators: str) -> str | None:
        """The next lexeme, if it is one of these operators."""
        found = self._next()
        if found is None or found[0] != "operator" or found[1] not in operators:
            return None
        self._place += 1
        return found[1]

    def _alternatives(self) -> Expression:
        result = self._sequence()
        while self._take("|"):
            result = either(result, self._sequence())
        return result

    def _sequence(self) -> Expression:
        result = EMPTY
        while (found := self._next()) is not None and found not in (("operator", "|"), ("operator", ")")):
            result = sequence(result, self._repeated())
        return result

    def _repeated(self) -> Expression:
        result = self._atom()
        while (found := self._next()) is not None and found[0] == "operator":
            if found[1] == "*":
                result = repeat(result)
            elif found[1] == "+":
                result = sequence(result, repeat(result))
            elif found[1] == "?":
                result = either(EMPTY, result)
            elif found[1].startswith("{"):
                result = self._counted(result, found[1])
            else:
                break
            self._place += 1
        return result

    def _counted(self, part: Expression, braces: str) -> Expression:
        """{m}, {m,n}, {m,} or {,n} times."""
        low, comma, high = braces[1:-1].partition(",")
        if not low and not high:
            raise ValueError(f"pattern {self._pattern!r} has {braces}: give a number, as {{2}} or {{1,3}}")
        least, most = int(low or 0), int(high or 0) if comma else int(low)
        unlimited = bool(comma) and not high
        if (not unlimited and most < least) or max(least, most) > MOST_REPEATS:
            raise ValueError(
                f"pattern {self._pattern!r} has {braces}: counts ascend and are at most {MOST_REPEATS}"
            )
        result = repeat(part) if unlimited else EMPTY
        for _ in range(0 if unlimited else most - least):
            result = either(EMPTY, sequence(part, result))
        for _ in range(least):
            result = sequence(part, result)
        return result

    def _atom(self) -> Expression:
        if self._take("("):
            result = self._alternatives()
            if not self._take(")"):
                raise ValueError(f"pattern {self._pattern!r} lacks a ')'")
            return result
        if self._take("."):
            return one_of(frozenset(), negated=True)
        if bracket := self._take("[", "[^"):
            chosen: set[int] = set()
            while (found := self._next()) is not None and found[0] == "word":
                chosen.add(self._token(found[1]))
                self._place += 1
            if not self._take("]") or not chosen:
                raise ValueError(
                    f"pattern {self._pattern!r} has a {bracket!r} without words or without a ']'"
                )
            return one_of(frozenset(chosen), negated=bracket == "[^")
        found = self._next()
        if found is None or found[0] != "word":
            wrong = "its end" if found is None else repr(found[1])
            raise ValueError(f"pattern {self._pattern!r} has {wrong} where a word was expected")
        self._place += 1
        return one_of(frozenset({self._token(found[1])}))

    def _token(self, word: str) -> int:
        if word not in self._tokens:
            raise ValueError(f"pattern {self._pattern!r} names {word!r}, which is no word of the vocabulary")
        return self._tokens[word]
