"""Tasks with people's answers: what is asked, how it is put to a model, and what is paid."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from klrl_envs import TextTask
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reference.slot_words import SlotVocabulary
from klrl_envs.reward import text_overlap
from klrl_envs.tasks import answered, question_answering, summarization, translation
from klrl_envs.tasks.answered import Asked, Compared

NOTHING = np.zeros((0, 0), dtype=np.int64), np.zeros(0, dtype=np.int64)
SUMMARY = Asked(
    "summary", "This library reads music files of many kinds.\nSynopsis: ", ("library for music files",)
)
LINE = Asked("fr", "music player\nFrench: ", ("lecteur de musique", "joueur de musique"))
SECTION = Asked("answer-section", "tool\nSection: games\nQuestion: Which section?\nAnswer: ", ("games",))
PURPOSE = Asked("answer-purpose", "tool\nSection: games\nQuestion: What for?\nAnswer: ", ("Game of chess",))


def test_what_is_written_is_compared_with_the_answers_of_its_own_prompt() -> None:
    asked = [SUMMARY, LINE]
    scores = Compared([each.prompt for each in asked], asked, summarization.compare)
    rewards, _ = scores(*NOTHING, [f"{LINE.prompt} joueur de musique", f"{SUMMARY.prompt}joueur de musique"])
    assert rewards.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="begins with no prompt"):
        scores(*NOTHING, ["something else"])


def test_summaries() -> None:
    texts = ["library for music files", "music files", "", "chess of music files"]
    rewards, metrics = summarization.compare([SUMMARY] * 4, texts)
    assert rewards.tolist() == pytest.approx([1.0, 2 * 2 / 6, 0.0, 0.5])
    assert metrics["rouge_1"].tolist() == pytest.approx([1.0, 2 * 2 / 6, 0.0, 0.5])
    assert metrics["rouge_2"].tolist() == pytest.approx([1.0, 2 * 1 / 4, 0.0, 2 * 1 / 6])
    assert metrics["words"].tolist() == [4, 2, 0, 4]
    assert metrics["copied"].tolist() == [0.75, 1.0, 0.0, 0.75]


def test_translations_take_the_best_of_several() -> None:
    texts = ["lecteur de musique", "joueur de musique", "un joueur de musique", ""]
    rewards, metrics = translation.compare([LINE] * 4, texts)
    assert rewards[:2].tolist() == [1.0, 1.0] and 0.8 < rewards[2] < 1 and rewards[3] == 0
    assert metrics["exact"].tolist() == [1, 1, 0, 0]
    assert metrics["word_error_rate"].tolist() == pytest.approx([0, 0, 1 / 3, 1])
    # 9 of 10 words, 6 of 7 pairs, 3 of 4 triples, none of one four: a half; 10 of 12 words
    together = translation.of_all_texts(NOTHING[1], rewards, metrics)
    expected = (9 / 10 * 6 / 7 * 3 / 4 * 1 / 2) ** (1 / 4) * np.exp(1 - 12 / 10)
    assert together == {"bleu": pytest.approx(expected, abs=1e-12)}


def test_answers_to_closed_and_open_questions() -> None:
    asked = [SECTION, SECTION, PURPOSE, PURPOSE]
    rewards, metrics = question_answering.compare(asked, ["Games", "net", "game of chess", "a game"])
    assert rewards.tolist() == pytest.approx([1, 0, 1, 2 * 1 / 5])
    assert metrics["exact"].tolist() == [1, 0, 1, 0]
    assert metrics["precision"].tolist() == pytest.approx([1, 0, 1, 1 / 2])
    assert metrics["recall"].tolist() == pytest.approx([1, 0, 1, 1 / 3])
    assert metrics["closed"].tolist() == [1, 1, 0, 0]
    assert metrics["closed_exact"].tolist() == [1, 0, 0, 0]


SHIPPED = {"summary": SUMMARY, "fr": LINE, "answer": SECTION}
VOCABULARY = SlotVocabulary(
    fields=("\nSection: ", "\nQuestion: "),
    answers=("\nSynopsis: ", "\nFrench: ", "\nAnswer: "),
    slots=4,
    separators=(" ", ".", "?"),
    words=("music", "library", "files"),
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], TextTask]:
    """Makes the tasks of a few prompts on a uniform reference."""
    model = LanguageModel(UniformReference(VOCABULARY.size), VOCABULARY, 0)
    splits = {name: {"train": (each,), "evaluation": (each,)} for name, each in SHIPPED.items()}
    monkeypatch.setattr(answered, "shipped", lambda: splits)
    monkeypatch.setattr(answered, "load", lambda *_, **__: model)
    return lambda module: module.task(kl_coef=0.05)


@pytest.mark.parametrize("module", [summarization, translation, question_answering])
def test_a_task_reads_the_words_of_its_prompts(module: Any, made: Callable[[Any], TextTask]) -> None:
    task = made(module)
    (asked,) = {summarization: (SUMMARY,), translation: (LINE,), question_answering: (SECTION,)}[module]
    assert task.text(task.padded_prompts[0]) == asked.prompt
    assert task.text_rewards([asked.prompt] * 2, [asked.answers[0], ""]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("module", "part", "changed"),
    [
        (translation, "BETA", 1.0),
        (translation, "CHARACTER_ORDER", 5),
        (translation, "_characters", lambda text: np.array([ord(each) for each in text], dtype=np.uint32)),
        (summarization, "_NOT_OF_ROUGE", re.compile(r"\W+")),
        (summarization, "_rouge_words", lambda texts: [text.lower().rstrip("s").split() for text in texts]),
        (question_answering, "_WORD_OR_SIGN", re.compile(r"\w+")),
        (question_answering, "_words_and_signs", lambda text: re.findall(r"\w+|[^\w\s]", text)),
    ],
)
def test_a_metric_that_moves_is_another_task(
    module: Any, part: str, changed: Any, made: Callable[[Any], TextTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = made(module).fingerprint
    assert made(module).fingerprint == fingerprint
    monkeypatch.setattr(text_overlap, part, changed)
    assert made(module).fingerprint != fingerprint


def test_other_answers_or_the_first_of_several_are_another_task(
    made: Callable[[Any], TextTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(metric: Any, ours: Any, theirs: Any) -> Any:
        return metric(ours, [each[0] for each in theirs])

    fingerprint = made(translation).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(translation, "best_of", first)
        assert made(translation).fingerprint != fingerprint
    assert made(translation).fingerprint == fingerprint
    other = replace(LINE, answers=("lecteur",))
    monkeypatch.setattr(answered, "shipped", lambda: {"fr": {"train": (other,), "evaluation": (LINE,)}})
    assert made(translation).fingerprint != fingerprint
