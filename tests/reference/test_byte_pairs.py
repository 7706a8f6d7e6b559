"""The byte-pair vocabulary: the fewest tokens of a text."""

from __future__ import annotations

import itertools

import pytest

from klrl_envs.reference.byte_pairs import as_symbols, nano_vocabulary


def test_the_fewest_tokens_are_those_of_an_exhaustive_search() -> None:
    """Of every text that one or two tokens of a choice decode to, joined with those that split characters."""
    vocabulary = nano_vocabulary()
    split = [token for token in range(1, vocabulary.size) if "\ufffd" in vocabulary.decode([token])]
    chosen = [*split[::9], *range(300, 2048, 150)]
    fewest: dict[str, int] = {}
    for length in (1, 2, 3):
        for tokens in itertools.product(chosen, repeat=length):
            fewest.setdefault(vocabulary.decode(tokens), length)
    for text, length in list(fewest.items())[::7]:
        assert vocabulary.least_tokens(text) <= length
    # where one token is all of it, one is the least
    for token in range(1, vocabulary.size):
        assert vocabulary.least_tokens(vocabulary.decode([token])) == 1
    assert vocabulary.least_tokens("") == 0


@pytest.mark.parametrize(
    "text", ["A naive film.", "caf\u00e9 \u2013 na\u00efve", "\U0001f600!", "a\ufffd\ufffd b"]
)
def test_no_text_has_fewer_tokens_than_its_characters_allow(text: str) -> None:
    vocabulary = nano_vocabulary()
    least = vocabulary.least_tokens(text)
    assert 1 <= least <= len(vocabulary.encode(text))
    assert least >= text.count("\ufffd")


def test_symbols_are_bytes_and_the_unknown_is_itself() -> None:
    assert as_symbols("a\u00e9\ufffd") == "a\u00c3\u00a9\ufffd"
