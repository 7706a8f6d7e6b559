"""Words and slots: texts become tokens and texts again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klrl_envs.reference.slot_words import CAPITAL, UNKNOWN, UNKNOWN_TEXT, SlotVocabulary
from klrl_envs.reference.vocabulary import Vocabulary

WORDS = ("the", "library", "for", "à", "bibliothèque", "3D", "C", "é")
SEPARATORS = (" ", ",", ".", "-", "(", ")", "'", ", ", " (", ") ", "--", "«", " « ")
PARTS = {
    "fields": ("\nName: ", "\nQuestion: "),
    "answers": ("\nSynopsis: ", "\nFrench: "),
    "slots": 3,
    "separators": SEPARATORS,
    "words": WORDS,
}
VOCABULARY = SlotVocabulary(**PARTS)
SLOT = VOCABULARY.first_slot
PROMPT = "Zap and Zip, the zip-Zap Library for Zop and Zup\nSynopsis: "

known_words = st.sampled_from([*WORDS, "The", "Library", "For", "À", "Bibliothèque"])
runs = st.lists(st.sampled_from(" ,.-()'«"), min_size=1, max_size=5).map("".join)
known_texts = st.lists(st.tuples(known_words, runs)).map(lambda pairs: "".join(map("".join, pairs)))
texts = st.text(st.one_of(st.characters(), st.sampled_from("ab ,.-('\nNFS")), max_size=40)


@given(known_texts, runs)
def test_what_is_written_in_known_words_comes_back_letter_by_letter(text: str, before: str) -> None:
    text = before + text
    tokens = VOCABULARY.encode(text)
    assert UNKNOWN not in tokens and not any(SLOT <= token < SLOT + 3 for token in tokens)
    assert VOCABULARY.decode(tokens) == text


@given(texts)
def test_every_text_can_be_written_and_its_words_are_those_of_its_slots(text: str) -> None:
    tokens = VOCABULARY.encode(text)
    assert all(0 <= token < VOCABULARY.size for token in tokens)
    assert VOCABULARY.least_tokens(text) <= len(tokens)
    read = VOCABULARY.decode_with(tokens, VOCABULARY.slot_words(text))
    if UNKNOWN not in tokens:  # around a sign that is no separator, as around a word, there is a space
        assert read.replace(" ", "") == text.replace(" ", "")
    again = VOCABULARY.encode(read)
    assert VOCABULARY.decode_with(again, VOCABULARY.slot_words(read)) == read


@given(st.lists(st.integers(0, VOCABULARY.size - 1), max_size=12))
def test_no_text_needs_more_tokens_than_it_was_decoded_from(tokens: list[int]) -> None:
    slots = ("Zap", "foo", "Über")
    assert VOCABULARY.least_tokens(VOCABULARY.decode_with(tokens, slots)) <= len(tokens)


@given(texts, st.integers(0, 20))
def test_a_beginning_is_the_longest_that_there_is_room_for(text: str, room: int) -> None:
    assert VOCABULARY.beginning(text, len(VOCABULARY.encode(text))) == text
    part = VOCABULARY.beginning(text, room)
    assert text.startswith(part) and len(VOCABULARY.encode(part)) <= room
    longer = VOCABULARY.beginning(text, room + 1)
    assert longer.startswith(part)


def test_a_rare_word_takes_a_slot_in_the_prompt_and_keeps_it_in_the_answer() -> None:
    text = PROMPT + "Zip for Zap, zap and Zup"
    assert VOCABULARY.slot_words(text) == ("Zap", "and", "Zip")
    tokens = VOCABULARY.encode(text)
    first = VOCABULARY.prompt_length(tokens)
    shown = [VOCABULARY.token_string(token) for token in tokens]
    assert shown[:first] == [
        *("<1>", "<2>", "<3>", ", ", "the", UNKNOWN_TEXT, "-", "<1>"),  # "zip" comes too late for a slot
        *("<capital>", "library", "for", UNKNOWN_TEXT, "<2>", UNKNOWN_TEXT, "\nSynopsis: "),
    ]
    assert shown[first:] == ["<3>", "for", "<1>", ", ", UNKNOWN_TEXT, "<2>", UNKNOWN_TEXT]


def test_a_known_prompt_gives_its_words_to_the_slots() -> None:
    vocabulary = VOCABULARY.with_prompts([PROMPT])
    text = PROMPT + "Zip, the library for Zap"
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.decode([*vocabulary.encode(text), 0]) == text
    assert vocabulary.decode([*vocabulary.encode(PROMPT), CAPITAL, SLOT + 1, UNKNOWN]) == (
        f"{PROMPT}And {UNKNOWN_TEXT}"
    )
    # without the prompt, numbers
    assert VOCABULARY.decode(vocabulary.encode(text)).endswith("\nSynopsis: <3>, the library for <1>")


def test_prompts_that_differ_in_the_slots_words_alone_are_refused() -> None:
    VOCABULARY.with_prompts([PROMPT, PROMPT])
    with pytest.raises(ValueError, match="prompts must differ in their tokens"):
        VOCABULARY.with_prompts([PROMPT, PROMPT.replace("Zap", "Zep")])
    with pytest.raises(ValueError, match="one answer mark, at its end, got 'the library'"):
        VOCABULARY.with_prompts(["the library"])


def test_it_is_a_vocabulary_and_comes_back_from_its_file(tmp_path: Path) -> None:
    assert isinstance(VOCABULARY, Vocabulary)
    path = tmp_path / "vocabulary.json"
    VOCABULARY.save(path)
    read = SlotVocabulary.load(path)
    strings = [read.token_string(token) for token in range(read.size)]
    assert strings == [VOCABULARY.token_string(token) for token in range(VOCABULARY.size)]
    assert strings[:3] == ["<end>", UNKNOWN_TEXT, "<capital>"] and strings[-1] == "é"
    assert read.encode(PROMPT) == VOCABULARY.encode(PROMPT)
    with pytest.raises(ValueError, match=f"token is {read.size}, allowed: 0 to {read.size - 1}"):
        read.token_string(read.size)


@pytest.mark.parametrize(
    ("part", "value", "named"),
    [
        ("words", ("the", "the"), "distinct"),
        ("words", ("two words",), "'two words'"),
        ("separators", (" ", "a-"), "'a-'"),
        ("separators", (" ", ", "), "', '"),
        ("fields", ("Name: ",), "'Name: '"),
    ],
)
def test_what_is_no_part_of_a_vocabulary_is_refused(part: str, value: tuple[str, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SlotVocabulary(**{**PARTS, part: value})
