"""The word tasks: their optima against every text of shrunk tasks, their probes, data and errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.reference.catalogue import WordReference
from klrl_envs.reference.lexicon import CLASSES, every_word, word_lexicon
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.registry import make_task
from klrl_envs.tasks.base import AutomatonTask
from klrl_envs.tasks.diversity import DIVERSE, diversity_task
from klrl_envs.tasks.haiku import VerseVocabulary, haiku_task
from klrl_envs.tasks.naive_bayes_sentiment import sentiment_task
from klrl_envs.tasks.recall import recall_task
from klrl_envs.tasks.topic import topic_task

WORD_TASKS = ("NaiveBayesSentiment-v0", "Topic-v0", "Haiku-v0", "Recall-v0", "Diversity-v0")
Text = tuple[int, ...]


def small_reference(words: str, end_token: int | None, seed: int = 0) -> WordReference:
    """A random bigram over a few letters."""
    generator = np.random.default_rng(seed)
    rows = np.log(generator.dirichlet(np.full(len(words), 0.7), len(words) + 1) * 0.9 + 0.1 / len(words))
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return WordReference(
        MarkovReference(rows[-1], rows[:-1]), WordVocabulary(tuple(words), end_token), end_token
    )


def texts(task: AutomatonTask, over: Callable[[Text], bool]) -> Iterator[tuple[Text, list[float]]]:
    """Every finished text with pi0 of each of its tokens."""
    waiting: list[tuple[Text, list[float]]] = [((), [])]
    while waiting:
        text, odds = waiting.pop()
        if text and (len(text) == task.horizon or text[-1] == task.end_token or over(text)):
            yield text, odds
            continue
        row = np.exp(task.reference.rows(np.array([text[-1] if text else task.vocab_size]))[0])
        waiting += [((*text, token), [*odds, float(row[token])]) for token in range(task.vocab_size)]


def assert_exact(
    task: AutomatonTask,
    reward: Callable[[Text, list[float]], float],
    over: Callable[[Text], bool] = lambda text: False,
) -> None:
    """J*, J(pi0) and the law of pi* are those of the enumerated texts."""
    found = [(math.prod(odds), reward(text, odds)) for text, odds in texts(task, over)]
    assert math.fsum(p for p, _ in found) == pytest.approx(1, abs=1e-12)
    assert len({value for _, value in found}) > 1
    beta = task.kl_coef
    total = math.fsum(p * math.exp(value / beta) for p, value in found)
    best = optimum_of(task)
    assert best.value == pytest.approx(beta * math.log(total), abs=1e-10)
    assert best.reference_value == pytest.approx(math.fsum(p * value for p, value in found), abs=1e-10)
    expected = math.fsum(p * math.exp(value / beta) * value for p, value in found) / total
    assert best.expected_reward == pytest.approx(expected, abs=1e-10)
    low, high = task.reward_range
    assert all(low <= value <= high for _, value in found)


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_sentiment_is_the_logistic_of_the_summed_log_odds(kl_coef: float) -> None:
    weights = np.array([0, 3, -2, 1, -4])
    task = sentiment_task(
        small_reference("$abcd", 0), weights, 0.3, kl_coef=kl_coef, horizon=4, prior=-0.7, source=None
    )
    assert_exact(task, lambda text, _: 1 / (1 + math.exp(0.7 - 0.3 * sum(weights[list(text)]))))
    sums = task.final_metrics["log_odds"]
    np.testing.assert_allclose(task.automaton.final_reward, 1 / (1 + np.exp(-sums)), atol=1e-14)


@pytest.mark.parametrize("kl_coef", [0.1, 1.0])
@pytest.mark.parametrize("end_token", [0, None])
def test_topic_pays_each_token_for_likelihood_and_similarity(kl_coef: float, end_token: int | None) -> None:
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    target = np.array([0.8, -0.6])
    task = topic_task(
        small_reference("$abc", end_token),
        vectors,
        target,
        kl_coef=kl_coef,
        horizon=4,
        likelihood=0.4,
        similarity=1.5,
    )

    def reward(text: Text, odds: list[float]) -> float:
        return math.fsum(
            0.4 * chance + 1.5 * float(vectors[token] @ target)
            for token, chance in zip(text, odds, strict=True)
            if token != end_token
        )

    assert_exact(task, reward)


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_haiku_wants_its_lines_of_their_length(kl_coef: float) -> None:
    syllables, may_end = [1, 2, 3, 1], [True, True, True, False]
    lines = (2, 3)
    task = haiku_task(
        small_reference("abcd", None),
        np.array(syllables),
        np.array(may_end),
        lines,
        kl_coef=kl_coef,
        horizon=5,
    )

    def verses(text: Text) -> list[Text] | None:
        """The complete lines of a text, or None where one is broken."""
        result: list[Text] = []
        line: list[int] = []
        for token in text:
            line.append(token)
            size = sum(syllables[word] for word in line)
            goal = lines[len(result)]
            if size > goal or (size == goal and not may_end[token]):
                return None
            if size == goal:
                result.append(tuple(line))
                line = []
        return result

    def over(text: Text) -> bool:
        found = verses(text)
        return found is None or len(found) == len(lines)

    def reward(text: Text, odds: list[float]) -> float:
        found = verses(text)
        return float(found is not None and len(found) == len(lines))

    assert_exact(task, reward, over)


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_recall_compares_the_last_class_with_the_first(kl_coef: float, horizon: int) -> None:
    classes = [0, 1, -1, 1, 0]
    task = recall_task(small_reference("abcde", None), np.array(classes), 2, kl_coef=kl_coef, horizon=horizon)
    assert_exact(task, lambda text, _: float(classes[text[0]] >= 0 and classes[text[0]] == classes[text[-1]]))


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_diversity_counts_a_class_once(kl_coef: float) -> None:
    classes = [-1, 2, 0, 2, 1]
    task = diversity_task(small_reference("$abcd", 0), np.array(classes), [2, 0], kl_coef=kl_coef, horizon=4)
    assert_exact(task, lambda text, _: len({classes[token] for token in text} & {0, 2}) / 2)


@pytest.mark.parametrize("task_id", WORD_TASKS)
def test_defaults_leave_something_to_learn(task_id: str) -> None:
    task = make_task(task_id, prompts="evaluation")
    assert isinstance(task, AutomatonTask)
    best = optimum_of(task)
    assert 1 <= best.kl <= 15
    low, high = (0, 1) if task.reward_range == (0, 1) else (best.reference_value, best.expected_reward)
    assert best.value - best.reference_value > 0.25 * (high - low)
    scores = probe_scores(task)
    assert ("end" in scores) == (task.end_token is not None)
    assert scores.pop("maximiser") <= 0.8
    assert max(scores.values()) <= 0.3


@pytest.mark.parametrize("task_id", WORD_TASKS)
def test_state_features_tell_states_apart(task_id: str) -> None:
    task = make_task(task_id)
    assert isinstance(task, AutomatonTask)
    features = task.state_features
    assert features.dtype == np.float32 and len(features) == task.automaton.states
    assert ((features >= 0) & (features <= 1)).all()
    assert len({row.tobytes() for row in features}) == len(features)
    assert all(array.shape == (len(features),) for array in task.final_metrics.values())


def test_sums_are_a_few_hundred_and_none_is_clamped() -> None:
    task = make_task("NaiveBayesSentiment-v0")
    assert isinstance(task, AutomatonTask)
    lexicon = word_lexicon()
    assert 200 <= task.automaton.states <= 500
    state = int(np.flatnonzero(task.automaton.start)[0])
    for word in [int(lexicon.weights.argmax())] * task.horizon:
        state = int(task.automaton.transition[state, word])
    sums = task.final_metrics["log_odds"]
    assert sums[state] == pytest.approx(-4 + lexicon.eta * task.horizon * lexicon.weights.max(), abs=1e-9)


def write(env_id: str, words: Sequence[str], **arguments: Any) -> tuple[float, dict[str, Any]]:
    """The total reward and the last info of a text in an environment."""
    env: Any = gym.make(f"klrl/{env_id}", **arguments)
    env.reset(seed=0)
    index = {word: token for token, word in enumerate(env.unwrapped.task.vocabulary.words)}
    total, info = 0.0, {}
    for word in words:
        _, reward, _, _, info = env.step(index[word])
        total += reward
    return total, info


def test_texts_that_a_reader_can_judge() -> None:
    praise, blame = (["wonderful", "and", "touching", "<end>"], ["boring", "waste", "of", "time", "<end>"])
    good, good_info = write("NaiveBayesSentiment-v0", praise, prior=0.0)
    bad, _ = write("NaiveBayesSentiment-v0", blame, prior=0.0)
    assert good > 0.9 > 0.1 > bad
    assert good == pytest.approx(1 / (1 + math.exp(-good_info["log_odds"])))
    lines = ["the wonderful cast", "plays a family drama", "and everyone laughs"]
    reward, info = write("Haiku-v0", " ".join(lines).split())
    assert reward == 1 and info["success"] == 1 and info["lines"] == 3
    assert info["text"].split("\n") == lines
    broken, info = write("Haiku-v0", ["the", "wonderful", "the"])
    assert broken == 0 and info["lines"] == 0
    assert "text" not in write("Haiku-v0", ["the", "wonderful", "the"], content_ends=False)[1]
    assert write("Recall-v0", ["boring", "and", "silly"], horizon=3)[0] == 1
    assert write("Recall-v0", ["boring", "and", "robert"], horizon=3)[0] == 0
    assert write("Recall-v0", ["the", "and", "the"], horizon=3)[1]["classed"] == 0
    assert write("Recall-v0", ["she", "and", "husband"], horizon=3)[0] == 1
    found, info = write("Diversity-v0", ["robert", "john", "wife", "boring", "silly", "<end>"])
    assert found == 3 / 8 and info["classes"] == 3


def test_topic_prefers_its_own_words() -> None:
    music = write("Topic-v0", ["the", "soundtrack", "score", "<end>"])[0]
    war = write("Topic-v0", ["the", "military", "army", "<end>"])[0]
    assert music > war + 0.5
    assert write("Topic-v0", ["<end>"])[0] == 0
    other = write("Topic-v0", ["the", "military", "army", "<end>"], topic="war")[0]
    assert other > war + 0.5


@pytest.mark.parametrize(
    ("task_id", "arguments", "message"),
    [
        (
            "Topic-v0",
            {"topic": "zebra"},
            "topic must be a word .* that has a vector, got 'zebra'",
        ),
        ("Topic-v0", {"topic": "."}, "topic must be a word of the vocabulary that has a vector"),
        ("Topic-v0", {"similarity": -1}, "similarity must be a finite number of at least 0, got -1"),
        ("Topic-v0", {"likelihood": math.nan}, "likelihood must be a finite number"),
        ("NaiveBayesSentiment-v0", {"prior": math.inf}, "prior must be a finite number of nats, got inf"),
        ("NaiveBayesSentiment-v0", {"horizon": 2.5}, "horizon must be a whole number"),
        ("Diversity-v0", {"classes": [1, 1]}, "classes must be 1 to 10 distinct numbers in 0..15"),
        ("Diversity-v0", {"classes": []}, "classes must be 1 to 10"),
        ("Diversity-v0", {"classes": [16]}, "classes must be 1 to 10"),
        ("Diversity-v0", {"classes": list(range(11))}, "classes must be 1 to 10"),
        ("Recall-v0", {"commonest": 2000}, r"commonest must be a whole number in 0\.\.1999, got 2000"),
        ("Recall-v0", {"commonest": -1}, "commonest must be a whole number"),
        ("Recall-v0", {"reference": "uniform"}, "reference must be 'words' on Recall-v0, got 'uniform'"),
        ("Haiku-v0", {"reference": "uniform"}, "reference must be 'words' on Haiku-v0, got 'uniform'"),
    ],
)
def test_bad_arguments_are_named(task_id: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(task_id, **arguments)


@pytest.mark.parametrize(
    ("task_id", "arguments"),
    [
        ("NaiveBayesSentiment-v0", {"prior": -1.0}),
        ("Topic-v0", {"topic": "war"}),
        ("Topic-v0", {"likelihood": 0.25}),
        ("Haiku-v0", {"content_ends": False}),
        ("Recall-v0", {"commonest": 150}),
        ("Diversity-v0", {"classes": (0, 2, 3)}),
    ],
)
def test_fingerprints_follow_the_arguments(task_id: str, arguments: dict[str, Any]) -> None:
    default, other = make_task(task_id), make_task(task_id, **arguments)
    assert default.fingerprint == make_task(task_id, kl_coef=3.0).fingerprint
    assert default.fingerprint != other.fingerprint
    assert other.source is not None
    assert make_task(other.source[0], **other.source[1]).fingerprint == other.fingerprint


def test_keywords_beside_a_trigram() -> None:
    arguments: dict[str, Any] = {"keywords": ["film", "great"], "horizon": 8}
    best = klrl_envs.optimum("klrl/Keywords-v0", reference="words-trigram", **arguments)
    beside = klrl_envs.optimum("klrl/Keywords-v0", **arguments)
    assert best.exact and best.reference_value < best.value < 1
    assert best.value != pytest.approx(beside.value, abs=1e-4)
    seen = klrl_envs.evaluate(
        "optimal", "klrl/Keywords-v0", episodes=64, reference="words-trigram", **arguments
    )
    assert seen.objective.estimate == pytest.approx(best.value, abs=1e-9)


def test_the_trigram_is_refused_where_it_does_not_go() -> None:
    for task_id in ("Topic-v0", "Recall-v0", "Haiku-v0"):
        with pytest.raises(ValueError, match=f"reference must be 'words' on {task_id}"):
            make_task(task_id, reference="words-trigram")
    with pytest.raises(ValueError, match="allowed on this task are 'words' or 'words-trigram'"):
        make_task("Keywords-v0", reference="trigram")
    with pytest.raises(ValueError, match="take a bigram, a shorter horizon or fewer states"):
        klrl_envs.optimum("klrl/Keywords-v0", reference="words-trigram", horizon=120)


def test_vectors_and_classes_are_sound() -> None:
    lexicon = word_lexicon()
    words = {word: token for token, word in enumerate(lexicon.words)}
    assert len(lexicon.words) == len(lexicon.vectors) == 2011
    assert every_word(lexicon) == lexicon.words[1:]
    lengths = np.linalg.norm(lexicon.vectors, axis=1)
    np.testing.assert_array_equal(lengths[:11], 0)
    np.testing.assert_allclose(lengths[11:], 1, atol=2e-3)
    for one, near, far in (
        ("war", "military", "hilarious"),
        ("music", "soundtrack", "husband"),
        ("funny", "hilarious", "war"),
        ("boring", "dull", "daughter"),
        ("actor", "actress", "plot"),
    ):
        vector = lexicon.vectors[words[one]]
        assert vector @ lexicon.vectors[words[near]] > 0.2 + vector @ lexicon.vectors[words[far]]
    classes = lexicon.classes
    assert set(classes.tolist()) == set(range(-1, CLASSES))
    assert (classes[:161] == -1).all() and (classes[161:] >= 0).all()
    assert np.bincount(classes[161:]).min() >= 50
    np.testing.assert_array_equal(lexicon.nearest_classes[161:], classes[161:])
    assert (lexicon.nearest_classes[:11] == -1).all() and (lexicon.nearest_classes[11:] >= 0).all()
    assert lexicon.nearest_classes[words["she"]] == classes[words["wife"]]
    for same in (("robert", "john", "peter"), ("boring", "silly", "lame"), ("wife", "husband", "sister")):
        assert len({int(classes[words[word]]) for word in same}) == 1
    assert (
        len({int(classes[words[word]]) for word in ("robert", "boring", "wife", "touching", "costumes")}) == 5
    )
    assert len(set(DIVERSE)) == 8


def test_weights_and_syllables_are_sound() -> None:
    lexicon = word_lexicon()
    words = {word: token for token, word in enumerate(lexicon.words)}
    assert lexicon.weights[0] == 0 and np.abs(lexicon.weights).max() == 8 and lexicon.eta == 0.2
    assert all(lexicon.weights[words[word]] >= 4 for word in ("wonderful", "superb", "touching", "excellent"))
    assert all(lexicon.weights[words[word]] <= -4 for word in ("worst", "awful", "waste", "boring"))
    assert all(abs(lexicon.weights[words[word]]) <= 1 for word in ("the", "of", "and", ",", "in"))
    counts = {"the": 1, "movie": 2, "wonderful": 3, "military": 4, "personality": 5, "imdb": 0, ".": 0}
    assert {word: int(lexicon.syllables[words[word]]) for word in counts} == counts


def test_verse_is_shown_in_lines() -> None:
    vocabulary = VerseVocabulary(("one", "seven", "eleven"), (1, 2, 3), (2, 3))
    assert vocabulary.decode([1, 2, 0]) == "seven\neleven one"
    assert vocabulary.decode([]) == ""
    for row in itertools.product(range(3), repeat=3):
        assert vocabulary.encode(vocabulary.decode(row)) == list(row)
