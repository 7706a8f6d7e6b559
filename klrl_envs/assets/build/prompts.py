"""``sentiment.prompts``: the openings of reviews that Sentiment-v0 continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from klrl_envs.assets import write_arrays
from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.recipe import Asset, Recipe

SEED = 0
LENGTH = 8
REVIEW_LENGTH = 32
TRAINING = 4_096
EVALUATION = 64


def openings(tokenizer: Tokenizer, texts: Sequence[str]) -> set[tuple[int, ...]]:
    """The first LENGTH tokens of every text that has at least REVIEW_LENGTH."""
    encodings = tokenizer.encode_batch_fast(list(texts))
    return {tuple(e.ids[:LENGTH]) for e in encodings if len(e.ids) >= REVIEW_LENGTH}


def draw(candidates: set[tuple[int, ...]], count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """``count`` of the candidates without replacement, int32 [count, LENGTH]."""
    ordered = np.array(sorted(candidates), dtype=np.int32)
    return ordered[rng.choice(len(ordered), size=count, replace=False)]


def build(out: Path, reviews: Sequence[Review] | None = None) -> dict[str, object]:
    """Write ``sentiment.prompts.safetensors`` to ``out``; return the card's measurements."""
    reviews = load_reviews() if reviews is None else reviews
    tokenizer = Tokenizer.from_file(str(out / "nano.tokenizer.json"))
    imdb = [review for review in reviews if review.source == "imdb"]
    seen = openings(tokenizer, [review.text for review in imdb if review.part != "held_out"])
    unseen = openings(tokenizer, [review.text for review in imdb if review.part == "held_out"]) - seen
    rng = np.random.default_rng(SEED)
    evaluation = draw(unseen, EVALUATION, rng)
    training = draw(seen, TRAINING, rng)
    write_arrays(out / "sentiment.prompts.safetensors", {"train": training, "evaluation": evaluation})
    return {
        "training_prompts": len(training),
        "evaluation_prompts": len(evaluation),
        "prompt_tokens": LENGTH,
        "distinct_training_openings": len(seen),
        "distinct_held_out_openings": len(unseen),
        "seed": SEED,
    }


CARD = """\
# sentiment.prompts: openings of film reviews

The prompts of Sentiment-v0: the first eight tokens (of `nano.tokenizer.json`) of IMDB reviews of at least 32
tokens. No prompt occurs twice; no evaluation prompt opens a review outside the held-out tenth.

## Data
$data

Evaluation prompts are drawn from the held-out tenth, training prompts from the rest.

## Recipe
`klrl_envs/assets/build/prompts.py`:
a seeded draw without replacement.
$rebuild

## Measured
$measured

## Limits
Cut by tokens, a prompt may end inside a word. Some openings give the verdict away, some say nothing.

## Files
$files
"""
RECIPE = Recipe(
    name="prompts",
    assets=(Asset("sentiment.prompts", ("sentiment.prompts.safetensors",), CARD),),
    takes="seconds",
    reads=("nano.tokenizer.json",),
    build=lambda out, work: {"sentiment.prompts": build(out)},
)
