"""``shop``: a bigram over what a film seller says in scripted conversations, and the films on its shelves."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from klrl_envs.reference.markov import MarkovReference

GENRES = ("a comedy", "a thriller", "science fiction")
DECADES = ("sixties", "nineties")
MOODS = ("light", "dark")
FILMS = (
    "Playtime.", "Strangelove.", "Clueless.", "Fargo.", "Charade.", "Psycho.", "Sneakers.", "Seven.",
    "Barbarella.", "Alphaville.", "Stargate.", "Gattaca.",
)  # fmt: skip
"""One for each genre, decade and mood, in that order; a title is said with its full stop, and ends a turn."""

CLOSINGS = (".", "?", "!")
"""Marks that end a turn, beside the titles."""

ASKS = (
    (4, "which {} would you like ?"),
    (3, "what {} shall it be ?"),
    (3, "which {} please ?"),
    (2, "any favourite {} ?"),
    (2, "what {} today ?"),
)
ASKED = ("genre", "decade", "mood")
RECOMMENDS = (
    (6, "I recommend {}"),
    (6, "how about {}"),
    (5, "then take {}"),
    (5, "try {}"),
    (4, "my favourite is {}"),
    (4, "I suggest {}"),
)
CHATS = ((3, "what a lovely evening ."), (3, "many thanks ."), (2, "welcome ."))
OPENERS = ((6, "certainly ,"), (5, "very good ,"), (4, "of course ,"), (3, "thanks ,"))
"""What the seller says in the scripts, and how often; openers stand before any of the others. It asks for any
of the properties and recommends any of the films, {}, alike.
"""

OFTEN = 3
"""How often each turn is said without an opener for one time with each of the openers' weights in sum."""
STRAY = 0.01
"""Of all words together, beside what the scripts have after a word."""

USER = (
    "hello , I am looking for a film .",
    "hello , I want a comedy , thriller , science fiction , light , dark and from the sixties nineties .",
    "a comedy , please .",
    "something light .",
    "sorry , I did not understand .",
    "that is the one , thank you !",
    "no , that is not for me .",
    "I have to go now .",
)
"""Every word that the other side has; it reads like this, with the words of its wish."""


def scripted_turns() -> list[tuple[float, tuple[str, ...]]]:
    """All turns of the seller in the scripts, as words, and how often each is said."""
    plain = [(float(count), tuple(text.split())) for count, text in CHATS]
    for turns, names, shares in ((ASKS, ASKED, 1), (RECOMMENDS, FILMS, len(FILMS))):
        plain += [
            (count / shares, tuple(text.format(name).split())) for name in names for count, text in turns
        ]
    openers = [(count, tuple(text.split())) for count, text in OPENERS]
    total = sum(count for count, _ in openers)
    opened = [
        (often * count / total, (*opener, *words)) for often, words in plain for count, opener in openers
    ]
    return [(OFTEN * often, words) for often, words in plain] + opened


def shop_words() -> tuple[str, ...]:
    """The vocabulary: the seller's words in the order in which they are said, films, then the user's."""
    said = [word for _, words in scripted_turns() for word in words]
    heard = [word for text in USER for word in text.split()]
    return tuple(dict.fromkeys([*(word for word in said if word not in FILMS), *FILMS, *heard]))


@lru_cache(maxsize=1)
def shop_bigram() -> MarkovReference:
    """What the seller says next, given the last word of whoever spoke.

    A turn begins after the full stop of the other side's. After a word that the seller never says anything
    after, it says any of its words as often as in the scripts.
    """
    words = shop_words()
    index = {word: place for place, word in enumerate(words)}
    counts = np.zeros((len(words) + 1, len(words)))
    for often, turn in scripted_turns():
        for before, word in zip((".", *turn), turn):
            counts[index[before], index[word]] += often
    seen = counts.sum(axis=0)
    counts[counts.sum(axis=1) == 0] = seen
    rows = counts / counts.sum(axis=1, keepdims=True)
    table = np.log((1 - STRAY) * rows + STRAY / len(words))
    told = repr((words, scripted_turns(), STRAY)).encode()
    fingerprint = hashlib.sha256(b"klrl shop 1" + told).hexdigest()
    return MarkovReference(table[-1], table[:-1], name="shop", fingerprint=fingerprint)
