"""What the cards of the classifiers say, measured on reviews that no asset was trained on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray
from tqdm import tqdm

from klrl_envs.assets.build.passages import KINDS, PASSAGE, SHORT, WHOLE, Passages
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reward.classifier import SentimentClassifier, ngrams

BINS = 15
SMOOTHINGS = (0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0)


def calibration_error(probability: FloatArray, label: IntArray) -> float:
    """Expected calibration error: sum over BINS equal bins of share * |mean probability - mean label|."""
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, probability, BINS) - np.bincount(bins, label, BINS)
    return float(np.abs(gap).sum() / len(label))


def area_under_curve(score: FloatArray, label: IntArray) -> float:
    """P(a positive text scores above a negative one), ties in order of rank."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(len(score))
    positive = int(label.sum())
    above = rank[label == 1].sum() - positive * (positive - 1) / 2
    return float(above / (positive * (len(label) - positive)))


def counts(texts: list[str], table: NDArray[np.uint32] | None = None) -> tuple[Any, NDArray[np.uint32]]:
    """How often each text has each n-gram, [K, F], and the n-grams [F]."""
    text, keys, _ = ngrams(texts)
    table = np.unique(keys) if table is None else table
    column = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    known = table[column] == keys
    ones = np.ones(int(known.sum()), dtype=np.float32)
    return sp.csr_matrix((ones, (text[known], column[known])), shape=(len(texts), len(table))), table


def naive_bayes(passages: Passages, name: str, kinds: Mapping[str, int]) -> dict[str, object]:
    """The best multinomial naive Bayes of uni- and bigrams on held-out windows.

    Smoothing and training texts are chosen on the held-out windows themselves, in its favour.
    """
    window, short, whole = kinds["windows"], kinds["short reviews"], kinds["whole reviews"]
    tests = [passages.rows("held_out", window), passages.rows("held_out", whole)]
    best: dict[str, object] = {"naive_bayes_window_accuracy": 0.0}
    trainings = {"whole": (whole,), "whole and short": (whole, short), "windows and short": (window, short)}
    for trained_on, chosen in tqdm(trainings.items(), desc=f"naive Bayes, {name}", unit="fit"):
        rows = np.flatnonzero(passages.rows(name, *chosen))
        matrix, table = counts([passages.texts[row] for row in rows])
        label = passages.label[rows]
        sides = [np.asarray(matrix[label == side].sum(axis=0)).ravel() for side in (1, 0)]
        prior = np.log(label.mean() / (1 - label.mean()))
        held = [counts([passages.texts[r] for r in np.flatnonzero(test)], table)[0] for test in tests]
        for alpha in SMOOTHINGS:
            positive, negative = (np.log((side + alpha) / (side + alpha).sum()) for side in sides)
            window_accuracy, whole_accuracy = (
                float((((matrix @ (positive - negative)) + prior > 0) == passages.label[test]).mean())
                for matrix, test in zip(held, tests, strict=True)
            )
            if window_accuracy > float(str(best["naive_bayes_window_accuracy"])):
                best = {
                    "naive_bayes_window_accuracy": round(window_accuracy, 4),
                    "naive_bayes_whole_accuracy": round(whole_accuracy, 4),
                    "naive_bayes_smoothing": alpha,
                    "naive_bayes_trained_on": trained_on,
                }
    return best


def measure(
    classifiers: Mapping[str, SentimentClassifier], name: str, passages: Passages
) -> dict[str, object]:
    """The measurements of one classifier's card."""
    classifier, (other,) = classifiers[name], [c for key, c in classifiers.items() if key != name]
    found: dict[str, object] = {
        "ngrams": len(classifier.keys),
        "labelled_reviews": int(passages.rows(name, WHOLE, SHORT).sum()),
    }
    for kind, title in ((PASSAGE, "window"), (WHOLE, "whole"), (SHORT, "short")):
        rows = passages.rows("held_out", kind)
        texts = [passages.texts[row] for row in np.flatnonzero(rows)]
        label = passages.label[rows]
        started = time.process_time()
        probability = classifier.probability(texts)
        seconds = time.process_time() - started
        found |= {
            f"held_out_{title}_texts": len(texts),
            f"{title}_accuracy": round(float(((probability > 0.5) == label).mean()), 4),
            f"{title}_area_under_curve": round(area_under_curve(probability, label), 4),
            f"{title}_calibration_error": round(calibration_error(probability, label), 4),
        }
        if kind == PASSAGE:
            mine, theirs = classifier.logit(texts), other.logit(texts)
            found["windows_a_cpu_second"] = round(len(texts) / seconds, -3)
            found["window_logit_correlation_with_the_other"] = round(
                float(np.corrcoef(mine, theirs)[0, 1]), 4
            )
            top = np.argsort(-probability)[: len(label) // 100]
            found["best_hundredth_of_windows_own_probability"] = round(float(probability[top].mean()), 4)
            found["best_hundredth_of_windows_other_probability"] = round(
                float(other.probability([texts[int(row)] for row in top]).mean()), 4
            )
            found["best_hundredth_of_windows_share_positive"] = round(float(label[top].mean()), 4)
            found["window_share_below_0.1_or_above_0.9"] = round(
                float((np.abs(probability - 0.5) > 0.4).mean()), 4
            )
    repeated = classifier.probability(["great " * 28, "This was great."])
    found["probability_of_great_28_times"] = round(float(repeated[0]), 4)
    found["probability_of_this_was_great"] = round(float(repeated[1]), 4)
    return found | naive_bayes(passages, name, KINDS)
