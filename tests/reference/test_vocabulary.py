"""Words to text and back."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import pytest

from klrl_envs.reference.byte_pairs import nano_vocabulary
from klrl_envs.reference.vocabulary import SymbolVocabulary, Vocabulary, WordVocabulary

WORDS = ("<end>", "a", "good", "film", ".", ",", '"', "(", ")", "it", "'s", "don't", "well-made", "-")


@pytest.fixture
def vocabulary() -> WordVocabulary:
    return WordVocabulary(WORDS, end_token=0)


def test_is_a_vocabulary(vocabulary: WordVocabulary) -> None:
    assert isinstance(vocabulary, Vocabulary)
    assert vocabulary.size == len(WORDS)


@pytest.mark.parametrize(
    "text",
    [
        "a good film.",
        'a "good" film, don\'t (it) - "it".',
        "it's a good (well-made) film",
        "",
    ],
)
def test_round_trip(vocabulary: WordVocabulary, text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_end_token_is_skipped(vocabulary: WordVocabulary) -> None:
    assert vocabulary.decode([2, 3, 4, 0, 0]) == "good film."
    assert vocabulary.token_string(0) == "<end>"


def test_encode_lowers_case(vocabulary: WordVocabulary) -> None:
    assert vocabulary.encode("A GOOD Film") == [1, 2, 3]


def test_unknown_word(vocabulary: WordVocabulary) -> None:
    with pytest.raises(ValueError, match="'zebra' is not among the 14 words"):
        vocabulary.encode("a zebra")


def test_token_out_of_range(vocabulary: WordVocabulary) -> None:
    with pytest.raises(ValueError, match="allowed: 0 to 13"):
        vocabulary.token_string(14)
    with pytest.raises(ValueError, match="token is -1"):
        vocabulary.decode([-1])


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="distinct"):
        WordVocabulary(("a", "a"), None)
    with pytest.raises(ValueError, match="end_token is 2"):
        WordVocabulary(("a", "b"), 2)
    with pytest.raises(ValueError, match="empty"):
        WordVocabulary(("a", ""), None)


@pytest.mark.parametrize("wrong", [-1, 4])
@pytest.mark.parametrize("end_token", [None, 0])
def test_tokens_out_of_range_are_refused(wrong: int, end_token: int | None) -> None:
    with pytest.raises(ValueError, match=f"token is {wrong}, allowed: 0 to 3"):
        WordVocabulary(("a", "b", "c", "d"), end_token).decode([1, wrong])


def test_byte_pair_tokens_out_of_range_are_refused() -> None:
    for wrong in (-1, 2048):
        with pytest.raises(ValueError, match=f"token is {wrong}, allowed: 0 to 2047"):
            nano_vocabulary().decode([5, wrong])


def test_symbols_are_written_without_spaces() -> None:
    vocabulary = SymbolVocabulary(("<end>", "1", "2", "~1:"), 0)
    assert vocabulary.decode([1, 2, 0]) == "12"
    assert vocabulary.encode("12~1:") == [1, 2, 3]
    with pytest.raises(ValueError, match="not written in the 4 symbols"):
        vocabulary.encode("1 2")
    with pytest.raises(ValueError, match="token is 4"):
        vocabulary.decode([4])
