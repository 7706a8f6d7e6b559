"""``sentiment``: the classifier that pays (``reward``) and the one that only watches (``gold``).

Each is a linear model of distinct uni- and bigrams (``klrl_envs.reward.classifier``), and each sees the
labels of its own half of the reviews alone. Half the labels are few for passages of 32 tokens, most of
which say little, so the text of the other half is used too, without its labels:

1. fit whole reviews and short ones of the own half; label the other half's whole reviews by that fit
   (their passages then have a label that nine times in ten is right);
2. fit passages of 32 tokens, short reviews and whole ones, own and borrowed;
3. the four numbers of the calibration come from the same two steps with 15 % of the own half left out.

The price is that the two classifiers share more errors than labels alone would make them share; the cards
say how alike they are.

A fit minimises log loss + penalty / 2 * |w - m|^2, where m are the log-odds of naive Bayes (after the
NB-SVM of Wang and Manning 2012, https://aclanthology.org/P12-2018): what the data do not contradict
stays a naive Bayes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import scipy.optimize as optimize  # pyright: ignore[reportMissingTypeStubs]
import scipy.sparse as sp  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from klrl_envs.assets import write_arrays
from klrl_envs.assets.build import sentiment_measures as measures
from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.passages import PASSAGE, SHORT, WHOLE, WINDOW, Passages, cut
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reward.classifier import NAMES, SentimentClassifier, calibrated, features, find

SEED = 0
FORMAT = 1
LEAST_COUNT = 3
SMOOTHING = 1.0
WHOLE_PENALTY = 0.3
PENALTY = 3.0
ITERATIONS = 20
VALIDATION_PERCENT = 15


@dataclass(frozen=True)
class Design:
    """The n-grams that have weights, uint32 [F] ascending, and the texts as rows [K, F] over sqrt(n)."""

    keys: NDArray[np.uint32]
    matrix: Any
    words: IntArray


def design(passages: Passages) -> Design:
    """n-grams that at least LEAST_COUNT texts outside the held-out tenth have, and all texts in them."""
    parts = [
        features(passages.texts[first : first + 8192])
        for first in tqdm(range(0, len(passages.texts), 8192), desc="n-grams", unit="8192 texts")
    ]
    text = np.concatenate([part[0] + 8192 * index for index, part in enumerate(parts)])
    keys = np.concatenate([part[1] for part in parts])
    words = np.concatenate([part[2] for part in parts])
    table, counts = np.unique(keys[passages.part[text] != "held_out"], return_counts=True)
    table = table[counts >= LEAST_COUNT]
    column, known = find(table, keys)
    text, column = text[known], column[known]
    value = (1 / np.sqrt(words[text])).astype(np.float32)
    return Design(table, sp.csr_matrix((value, (text, column)), shape=(len(words), len(table))), words)


def ngram_log_odds(matrix: Any, target: FloatArray) -> FloatArray:
    """Naive Bayes: smoothed log-odds of each n-gram [F], a text counting its n-grams once."""
    present = matrix.copy()
    present.data = np.ones_like(present.data)
    positive, negative = (present.T @ side + SMOOTHING for side in (target, 1 - target))
    return np.log(positive / positive.sum()) - np.log(negative / negative.sum())


def fit(matrix: Any, target: FloatArray, mean: FloatArray, penalty: float, progress: tqdm[Any]) -> FloatArray:
    """Weights [F] and the intercept, [F + 1] together, near ``mean``.

    L-BFGS in coordinates scaled by the diagonal of the curvature, without which the commonest words
    keep it from converging.
    """
    transposed = matrix.T.tocsr()
    curvature = 0.2 * (transposed.power(2) @ np.ones(len(target)))
    scale = 1 / np.sqrt(np.append(curvature + penalty, 0.2 * len(target)))
    start = np.append(mean, 0.0)
    goal = target.astype(np.float32)

    def loss(scaled: FloatArray) -> tuple[float, FloatArray]:
        step = scale * scaled
        weights = (start + step).astype(np.float32)
        logit = np.clip(matrix @ weights[:-1] + weights[-1], -60, 60)
        error = 1 / (1 + np.exp(-logit)) - goal
        pull = np.append(penalty * step[:-1], 0.0)
        value = (np.logaddexp(0, logit) - goal * logit).sum(dtype=np.float64) + 0.5 * pull @ step
        gradient = np.append(transposed @ error, error.sum(dtype=np.float64)) + pull
        return float(value), scale * gradient

    result = cast(Any, optimize).minimize(
        loss,
        np.zeros_like(start),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "maxcor": 8},
        callback=lambda _: progress.update(),  # pyright: ignore[reportUnknownLambdaType]
    )
    progress.update(ITERATIONS - result.nit)
    return start + scale * result.x


def train(passages: Passages, table: Design, name: str, use: BoolArray, progress: tqdm[Any]) -> FloatArray:
    """The two fits. ``use`` masks the texts whose labels may be seen; returns [F + 1]."""
    other = NAMES[1 - NAMES.index(name)]
    label = passages.label.astype(np.float64)
    own, wholes = passages.rows(name, SHORT, WHOLE) & use, passages.rows(other, WHOLE)
    mean = ngram_log_odds(table.matrix[own], label[own])
    first = fit(table.matrix[own], label[own], mean, WHOLE_PENALTY, progress)
    guess = np.full(passages.review.max() + 1, np.nan)
    guess[passages.review[wholes]] = table.matrix[wholes] @ first[:-1] + first[-1] > 0
    target = np.where(passages.part == other, guess[passages.review], label)
    both = own | wholes
    mean = ngram_log_odds(table.matrix[both], target[both])
    rows = (passages.rows(name, PASSAGE, SHORT, WHOLE) & use) | passages.rows(other, PASSAGE, WHOLE)
    return fit(table.matrix[rows], target[rows], mean, PENALTY, progress)


def calibrate(evidence: FloatArray, words: IntArray, label: FloatArray, weight: FloatArray) -> FloatArray:
    """(a, b, c, d) of the classifier's formula, of least weighted log loss."""

    def loss(parameters: FloatArray) -> float:
        logit = calibrated(evidence, words, parameters)
        return float(weight @ (np.logaddexp(0, logit) - label * logit))

    return cast(Any, optimize).minimize(loss, np.array([1.0, 0.0, 0.0, 0.0]), method="BFGS").x


def calibration(
    passages: Passages, table: Design, name: str, weights: FloatArray, unseen: BoolArray
) -> FloatArray:
    """Calibration on the own half's texts in ``unseen``; windows and whole reviews weigh the same."""
    rows = passages.rows(name, PASSAGE, WHOLE) & unseen
    kind = passages.kind[rows]
    evidence = table.matrix[rows] @ weights[:-1] + weights[-1]
    alike = np.bincount(kind)[kind]  # texts of the same kind
    return calibrate(evidence, table.words[rows], passages.label[rows].astype(float), 1 / alike)


def recipe_digest(reviews: Sequence[Review], tokenizer_path: Path) -> str:
    """What a kept intermediate result depends on."""
    constants = (FORMAT, SEED, WINDOW, LEAST_COUNT, SMOOTHING, WHOLE_PENALTY, PENALTY, ITERATIONS)
    digest = hashlib.sha256(repr((*constants, VALIDATION_PERCENT)).encode())
    digest.update(tokenizer_path.read_bytes())
    for review in reviews:
        digest.update(f"{review.part} {review.label} {review.text}\n".encode())
    return digest.hexdigest()[:12]


def build(out: Path, work: Path, reviews: Sequence[Review] | None = None) -> dict[str, dict[str, object]]:
    """Write both classifiers to ``out``; return the measurements by name.

    Fits that are finished are kept in ``work`` and not done again.
    """
    work.mkdir(parents=True, exist_ok=True)
    reviews = load_reviews() if reviews is None else reviews
    tokenizer_path = out / "nano.tokenizer.json"
    passages = cut(reviews, Tokenizer.from_file(str(tokenizer_path)))
    table = design(passages)
    recipe = recipe_digest(reviews, tokenizer_path)
    left_out = np.random.default_rng(SEED).random(len(reviews)) * 100 < VALIDATION_PERCENT
    unseen = left_out[passages.review]
    for name in tqdm(NAMES, desc="classifiers", unit="classifier"):
        weights: dict[str, FloatArray] = {}
        for stage, use in (("validation", ~unseen), ("all", np.ones_like(unseen))):
            kept = work / f"sentiment.{recipe}.{name}.{stage}.npy"
            if not kept.exists():
                with tqdm(total=2 * ITERATIONS, desc=f"{name}, {stage}", unit="iteration") as progress:
                    weights[stage] = train(passages, table, name, use, progress)
                with (partial := kept.with_suffix(".partial")).open("wb") as file:
                    np.save(file, weights[stage])
                partial.replace(kept)
            weights[stage] = np.load(kept)
        a, b, c, d = calibration(passages, table, name, weights["validation"], unseen)
        # The intercept of the fit joins the calibration: (a + b log n)(s + i) + c + d log n.
        intercept = weights["all"][-1]
        folded = np.array([a, b, c + a * intercept, d + b * intercept])
        arrays = {
            "keys": table.keys,
            "weights": weights["all"][:-1].astype(np.float16),
            "calibration": folded,
        }
        write_arrays(out / f"sentiment.{name}.safetensors", arrays)
    classifiers = {n: SentimentClassifier.read(out / f"sentiment.{n}.safetensors") for n in NAMES}
    return {name: measures.measure(classifiers, name, passages) for name in NAMES}


CARD = """\
# sentiment.$name: is a text of a film review positive?

$purpose

A linear model of the distinct uni- and bigrams of a text in lower case, over the square root of its length,
with a calibration that depends on the length (`klrl_envs/reward/classifier.py` has the formula). The file
holds 32 bits of a hash of each n-gram, its weight in float16, and the four numbers of the calibration.

## Data
$data

This classifier sees the labels of the half called `$name` (IMDB and Rotten Tomatoes). It also sees the text,
not the labels, of the other half's IMDB reviews, labelled by its own first fit.

## Recipe
`klrl_envs/assets/build/sentiment.py`:
logistic regression around naive Bayes log-odds, on whole reviews, short ones
and non-overlapping windows of 32 tokens; the calibration is fitted on reviews that the weights had not
seen.
$rebuild

## Measured
On the held-out tenth: windows are all its IMDB reviews' non-overlapping windows of 32 tokens, each with the
label of its review (most windows say little about the verdict, so no model can be near 1); short texts are
its Rotten Tomatoes sentences. Calibration error is the expected calibration error in 15 equal bins. The naive
Bayes is multinomial, over the same n-grams and the same labels; its smoothing and its training texts were
chosen on the held-out windows, in its favour. This classifier's recipe was chosen there too, among a few:
the figures flatter by what those choices can.

$measured

## Limits
It adds up words: irony, quotations, "not bad at all, is it?" and sentences about the plot mislead it. It is
calibrated on human reviews; on text that was written to please it, its probability is too high. Saying one
word again adds nothing, but a list of different words of praise does well. `reward` and `gold` saw different
labels but the same texts, in the same form, so that they share most errors (see the correlation of their
logits above): a gold far below the reward proves over-optimisation, a gold beside it proves nothing.

## Files
$files
"""
PURPOSES = {
    "reward": "The reward of Sentiment-v0: P(positive).",
    "gold": "The metric `gold` of Sentiment-v0, which no agent is paid by: P(positive) by labels that\n"
    "`reward` has not seen.",
}
RECIPE = Recipe(
    name="sentiment",
    assets=tuple(
        Asset(
            f"sentiment.{name}",
            (f"sentiment.{name}.safetensors",),
            CARD.replace("$name", name).replace("$purpose", PURPOSES[name]),
        )
        for name in NAMES
    ),
    takes="about 5 minutes",
    reads=("nano.tokenizer.json",),
    build=lambda out, work: {f"sentiment.{name}": found for name, found in build(out, work).items()},
)
