"""What the tasks on prose ask: the evaluation's families apart, every answer writable, kinds in turn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from klrl_envs.assets.build.debian_lists import fetch
from klrl_envs.assets.build.examples import choose_vocabulary, ruler
from klrl_envs.assets.build.formats import Example, examples
from klrl_envs.assets.build.packages import load_packages
from klrl_envs.assets.build.prose_prompts import FILE, build, chosen, gathered, prompts_of, task_of
from klrl_envs.reference.slot_words import SlotVocabulary
from tests.assets.debian import many, mirror

SIZES = {"summary": 20, "answer": 30, "fr": 20, "it": 10, "de": 10}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Example], SlotVocabulary, Path]:
    """Examples of a mirror of many packages, a vocabulary of them, and the folder of the mirror's lists."""
    folder = tmp_path_factory.mktemp("mirror")
    lists = fetch(folder / "lists", mirror(folder / "mirror", *many(200)))
    found = list(examples(load_packages(lists), ruler(), 0))
    return found, choose_vocabulary(found, 600), folder


def test_no_prompt_of_the_evaluation_is_of_a_family_that_is_trained_on(
    made: tuple[list[Example], SlotVocabulary, Path],
) -> None:
    found, vocabulary, _ = made
    held_out = {each.prompt for each in found if each.held_out}
    for name, asked in prompts_of(found, vocabulary, SIZES, 5).items():
        assert {prompt for _, prompt, _ in asked["evaluation"]} <= held_out
        assert not {prompt for _, prompt, _ in asked["train"]} & held_out
        if name != "summary":  # whose names stand in the mirror's descriptions with a capital alone
            assert 0 < len(asked["evaluation"]) <= 5 and 0 < len(asked["train"]) <= SIZES[name]
        rows = [tuple(vocabulary.encode(prompt)) for split in asked.values() for _, prompt, _ in split]
        assert len(set(rows)) == len(rows)
        for split in asked.values():
            vocabulary.with_prompts(
                [prompt for _, prompt, _ in split]
            )  # which refuses what it cannot tell apart
            for _, prompt, answers in split:
                assert answers and prompt.endswith(": ")
                for answer in answers:
                    tokens = vocabulary.encode(prompt + answer)
                    assert vocabulary.unknown_token not in tokens[vocabulary.prompt_length(tokens) :]


def test_questions_come_in_turn_and_answers_to_the_same_prompt_together(
    made: tuple[list[Example], SlotVocabulary, Path],
) -> None:
    found, vocabulary, _ = made
    asked = prompts_of(found, vocabulary, {"answer": 30}, 10)["answer"]["train"]
    kinds = [kind for kind, _, _ in asked]
    counts = [kinds.count(kind) for kind in set(kinds)]
    assert max(counts) - min(counts) <= 1 and len(counts) > 5
    line = "a game\nFrench: "
    twice = [Example("fr", line, ("un jeu",), False), Example("fr", line, ("le jeu", "un jeu"), False)]
    words = choose_vocabulary([*found, *twice], 900)
    assert [each.answers for each in gathered(twice, words).values()] in ([("un jeu", "le jeu")], [])


def test_prompts_of_the_same_tokens_are_asked_once() -> None:
    words = ruler()
    alike = [Example("fr", f"{name}\nFrench: ", ("x",), False) for name in ("one", "two", "one more")]
    picked = chosen(alike, 3, set(), words, np.random.default_rng(0))
    assert sorted(len(each.prompt.split()) for each in picked) == [2, 3]


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("summary", "summary"),
        ("answer-needs", "answer"),
        ("fr", "fr"),
        ("fr-paragraph", None),
        ("prose-en", None),
    ],
)
def test_tasks_ask_for_kinds(kind: str, task: str | None) -> None:
    assert task_of(kind) == task


def test_the_builder_writes_them(made: tuple[list[Example], SlotVocabulary, Path], tmp_path: Path) -> None:
    _, vocabulary, folder = made
    vocabulary.save(tmp_path / "prose.vocabulary.json")
    measured = build(tmp_path, tmp_path, lists=fetch(folder / "lists", mirror(folder / "mirror", *many(200))))
    written = json.loads((tmp_path / FILE).read_text("utf-8"))
    assert measured["train_prompts_answer"] == len(written["answer"]["train"]) > 50
    assert set(written) == set(SIZES)
