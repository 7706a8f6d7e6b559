"""``shop``: a bigram of what the scripts say, and how its conversations are written."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.reference.catalogue import load
from klrl_envs.reference.shop import FILMS, STRAY, scripted_turns, shop_bigram, shop_words
from klrl_envs.reference.vocabulary import ConversationVocabulary


def test_rows_are_the_shares_of_the_scripts() -> None:
    words, bigram = shop_words(), shop_bigram()
    index = {word: place for place, word in enumerate(words)}
    turns = scripted_turns()
    total = sum(often for often, _ in turns)
    for word in ("which", "how", "certainly", "thanks", "try"):
        share = sum(often for often, turn in turns if turn[0] == word) / total
        known = (1 - STRAY) * share + STRAY / len(words)
        assert np.exp(bigram.table[index["."], index[word]]) == pytest.approx(known)
    films = np.exp(bigram.table[index["try"]])[[index[film] for film in FILMS]]
    np.testing.assert_allclose(films, (1 - STRAY) / 12 + STRAY / len(words))
    genre = np.exp(bigram.table[index["which"], index["genre"]])
    assert genre == pytest.approx((1 - STRAY) / 3 + STRAY / len(words))


def test_it_recommends_too_soon_and_asks_alike() -> None:
    often = {kind: 0.0 for kind in ("genre", "decade", "mood", "film", "chat")}
    turns = scripted_turns()
    for count, turn in turns:
        asked = [name for name in ("genre", "decade", "mood") if name in turn]
        kind = asked[0] if asked else "film" if turn[-1] in FILMS else "chat"
        often[kind] += count / sum(one for one, _ in turns)
    assert often["genre"] == pytest.approx(often["decade"]) == pytest.approx(often["mood"])
    assert 0.3 < often["film"] < 0.5 and often["chat"] < 0.15
    assert all(turn[-1] in (".", "?", *FILMS) for _, turn in turns), "a turn ends as a turn does"


def test_conversations_are_lines_of_two_speakers() -> None:
    vocabulary = load("shop").vocabulary
    assert isinstance(vocabulary, ConversationVocabulary)
    lines = (
        "user: Hello, I am looking for a film.",
        "shop: Certainly, which genre?",
        "user: A comedy, please.",
    )
    text = "\n".join((*lines, "shop: Try Fargo."))
    tokens = vocabulary.encode(text)
    assert vocabulary.decode(tokens) == text
    assert vocabulary.decode(tokens[:12]) == "user: Hello, I am looking for a film.\nshop: Certainly, which"
    assert vocabulary.encode("which genre?") == vocabulary.encode("shop: Which genre?")
    assert vocabulary.decode([]) == "" and vocabulary.encode("") == []
    for size in range(len(tokens) + 1):
        assert vocabulary.encode(vocabulary.decode(tokens[:size])) == tokens[:size]
    with pytest.raises(ValueError, match="'seller' is not among"):
        vocabulary.encode("seller: Hello.")
