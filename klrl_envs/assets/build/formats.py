"""The formats that ``prose`` is trained on: prose, summaries, translations, and questions about a record.

All but prose are a prompt, which ends in a mark, and an answer:

    <long description> \\nSynopsis: <synopsis>
    <English synopsis or paragraph> \\nFrench: <the translators'>
    <record> \\nQuestion: <question> \\nAnswer: <answer>
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from klrl_envs.assets.build.packages import Description, Package
from klrl_envs.assets.build.questions import FIELDS, QUESTIONS, record
from klrl_envs.reference.slot_words import SlotVocabulary

SYNOPSIS, QUESTION, ANSWER = "\nSynopsis: ", "\nQuestion: ", "\nAnswer: "
TRANSLATED = {"fr": "\nFrench: ", "it": "\nItalian: ", "de": "\nGerman: "}
FIELD_MARKS = (*FIELDS.values(), QUESTION)
ANSWER_MARKS = (SYNOPSIS, *TRANSLATED.values(), ANSWER)

LONGEST = 191
"""Tokens of a whole text, its end token included; with the start token before it they are 192."""
LONGEST_PROMPT = 152
LONGEST_ANSWER = 38
LONGEST_TRANSLATED = 92
"""Tokens of a paragraph and of its translation."""
QUESTIONS_A_PACKAGE = 3


@dataclass(frozen=True)
class Example:
    """A text to learn.

    Attributes:
        kind: "prose-en", "summary", "fr" (a synopsis in French), "fr-paragraph", "answer-section", or the
            like of another language or question.
        prompt: with its mark; "" for prose.
        answers: that count as right; the first is learnt.
        held_out: whether its package is.
    """

    kind: str
    prompt: str
    answers: tuple[str, ...]
    held_out: bool


def examples(packages: Sequence[Package], ruler: SlotVocabulary, seed: int) -> Iterator[Example]:
    """All examples, those to train on first; none that has been there before.

    Args:
        packages: all of them.
        ruler: by whose tokens lengths are measured.
        seed: of the questions that are drawn.
    """
    rng = np.random.default_rng(seed)
    names = [name for package in packages for name in package.depends]
    seen: set[tuple[str, str]] = set()
    for package in sorted(packages, key=lambda each: each.held_out):
        others = [names[int(place)] for place in rng.integers(len(names), size=QUESTIONS_A_PACKAGE)]
        found = [
            *_prose(package, ruler),
            _summary(package, ruler),
            *_translations(package, ruler),
            *_answers(package, ruler, rng, others),
        ]
        for example in found:
            key = example.prompt, example.answers[0]
            if key not in seen:
                seen.add(key)
                yield example


def shortened(description: Description, ruler: SlotVocabulary, tokens: int) -> str:
    """A long description in at most so many tokens: its beginning, and its last paragraph where that is
    short, as it often says what is special about the package.
    """
    whole = description.long
    if ruler.least_tokens(whole) <= tokens:
        return whole
    last = description.paragraphs[-1]
    size = ruler.least_tokens(last)
    if len(description.paragraphs) == 1 or size > tokens // 3:
        return ruler.beginning(whole, tokens)
    return f"{ruler.beginning(' '.join(description.paragraphs[:-1]), tokens - size - 1)} {last}"


def _prose(package: Package, ruler: SlotVocabulary) -> Iterator[Example]:
    texts = {"en": (package.description,), **package.translations}
    for language, found in texts.items():
        for description in found:
            if description.paragraphs:
                text = ruler.beginning(description.long, LONGEST - 1)
                yield Example(f"prose-{language}", "", (text,), package.held_out)


def _summary(package: Package, ruler: SlotVocabulary) -> Example:
    prompt = shortened(package.description, ruler, LONGEST_PROMPT - 1) + SYNOPSIS
    return Example("summary", prompt, (package.description.synopsis,), package.held_out)


def _translations(package: Package, ruler: SlotVocabulary) -> Iterator[Example]:
    english = package.description
    for language, mark in TRANSLATED.items():
        for other in package.translations.get(language, ()):
            yield Example(language, english.synopsis + mark, (other.synopsis,), package.held_out)
            if len(other.paragraphs) == len(english.paragraphs):
                for pair in zip(english.paragraphs, other.paragraphs, strict=True):
                    if max(map(ruler.least_tokens, pair)) <= LONGEST_TRANSLATED:
                        yield Example(f"{language}-paragraph", pair[0] + mark, (pair[1],), package.held_out)


def _answers(
    package: Package, ruler: SlotVocabulary, rng: np.random.Generator, others: Sequence[str]
) -> Iterator[Example]:
    left = list(others)
    for place in rng.permutation(len(QUESTIONS)):
        question = QUESTIONS[int(place)]
        asked = question.ask(package, left[-1], rng)
        if asked is None:
            continue
        it, answers = asked
        wording = question.wordings[int(rng.integers(len(question.wordings)))]
        end = f"{QUESTION}{wording.format(name=package.name, it=it)}{ANSWER}"
        room = LONGEST_PROMPT - ruler.least_tokens(record(package, "") + end)
        text = shortened(package.description, ruler, max(room, 0))
        yield Example(f"answer-{question.name}", record(package, text) + end, answers, package.held_out)
        left.pop()
        if not left:
            return
