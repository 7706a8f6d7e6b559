"""Metrics of texts, beside the libraries that define them and beside tables filled by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.chrf import CHRF

from klrl_envs.reward.text_overlap import best_of, chrf, rouge_l, rouge_n, token_f1, word_error_rate
from tests.reward.pairs import EDGES, shuffled, synopses


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    """200 synopses of packages with others that share words with them, and what is special."""
    lines = synopses()
    assert len(lines) == 200
    ours, theirs = zip(*EDGES, strict=True)
    return [*shuffled(lines), *ours], [*lines, *theirs]


def test_rouge_is_that_of_rouge_score(pairs: tuple[list[str], list[str]]) -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    expected = [scorer.score(theirs, ours) for ours, theirs in zip(*pairs, strict=True)]
    for name, found in (
        ("rouge1", rouge_n(*pairs, 1)),
        ("rouge2", rouge_n(*pairs, 2)),
        ("rougeL", rouge_l(*pairs)),
    ):
        theirs = [each[name].fmeasure for each in expected]
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9, err_msg=name)
        assert len(set(theirs)) > 15


def test_chrf_is_that_of_sacrebleu(pairs: tuple[list[str], list[str]]) -> None:
    scorer = CHRF()
    expected = [
        scorer.sentence_score(ours, [theirs]).score / 100 for ours, theirs in zip(*pairs, strict=True)
    ]
    np.testing.assert_allclose(chrf(*pairs), expected, rtol=0, atol=1e-9)
    assert len(set(expected)) > 150


def test_the_order_of_words_is_nothing_to_token_f1_and_signs_are_something(
    pairs: tuple[list[str], list[str]],
) -> None:
    assert token_f1(
        ["b a", "C", "C, C++", "", "", "yes"], ["a b", "C++", "c++", "", "a", "no"]
    ) == pytest.approx([1, 0.5, 0.75, 1, 0, 0])
    for ours, theirs, found in zip(*pairs, token_f1(*pairs), strict=True):
        if (
            ours.replace(" ", "").isascii()
            and ours.replace(" ", "").isalpha()
            and theirs.replace(" ", "").isalpha()
        ):
            one, other = Counter(ours.lower().split()), Counter(theirs.lower().split())
            shared = (one & other).total()
            assert found == pytest.approx(2 * shared / (one.total() + other.total()))


def levenshtein(one: list[str], other: list[str]) -> int:
    if not one or not other:
        return len(one) + len(other)
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    return int(table[-1, -1])


def test_word_errors_are_those_of_a_table_filled_by_hand() -> None:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(list("abc"), size=rng.integers(0, 9))) for _ in range(200)]
    ours, theirs = texts[:100], texts[100:]
    expected = [
        levenshtein(one.split(), other.split()) / max(len(other.split()), 1)
        for one, other in zip(ours, theirs, strict=True)
    ]
    np.testing.assert_allclose(word_error_rate(ours, theirs), expected, atol=1e-12)
    assert word_error_rate(["the cat", "a, b"], ["The cat sat", "a b"]) == pytest.approx([1 / 3, 1 / 2])


def test_of_several_references_the_best_counts() -> None:
    found = best_of(rouge_l, ["a b", "c"], [["x", "a b", "a"], ["d"]])
    assert found.tolist() == [1.0, 0.0]
    assert best_of(rouge_l, [], []).shape == (0,)
    with pytest.raises(ValueError, match="each candidate must have a reference, and that at 1 has none"):
        best_of(rouge_l, ["a", "b"], [["a"], []])


@pytest.mark.parametrize("metric", [rouge_l, chrf, token_f1, word_error_rate])
def test_a_batch_is_as_its_parts(metric, pairs: tuple[list[str], list[str]]) -> None:
    ours, theirs = pairs[0][-40:], pairs[1][-40:]
    single = [float(metric([one], [other])[0]) for one, other in zip(ours, theirs, strict=True)]
    np.testing.assert_allclose(metric(ours, theirs), single, atol=1e-15)
    assert metric([], []).shape == (0,)
