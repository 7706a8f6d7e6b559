"""``sentiment.prompts``: the openings of reviews that Sentiment-v0 continues."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from klrl_envs.assets.build.corpus import Review, load_reviews

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
    save_file({"train": training, "evaluation": evaluation}, out / "sentiment.prompts.safetensors")
    return {
        "training_prompts": len(training),
        "evaluation_prompts": len(evaluation),
        "prompt_tokens": LENGTH,
        "distinct_training_openings": len(seen),
        "distinct_held_out_openings": len(unseen),
        "seed": SEED,
    }
