"""Records, questions and the formats that a network learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from klrl_envs.assets.build.examples import ruler
from klrl_envs.assets.build.formats import (
    ANSWER_MARKS,
    LONGEST,
    LONGEST_PROMPT,
    SYNOPSIS,
    TRANSLATED,
    examples,
    shortened,
)
from klrl_envs.assets.build.packages import Description, Package
from klrl_envs.assets.build.questions import QUESTIONS, SHOWN_DEPENDENCIES, listed, record

ZAP = Package(
    name="zap",
    source="zap-source",
    section="games",
    homepage="https://zap.example/",
    depends=("libc6", "libzop", "libzup", "perl", "python3"),
    tags={
        "implemented-in": ("c", "c++", "TODO"),
        "interface": ("x11", "graphical"),
        "role": ("program",),
    },
    description=Description("puzzle game", ("Zap is a game.", "It has levels.")),
    translations={
        "fr": (Description("jeu de réflexion", ("Zap est un jeu.", "Il a des niveaux.")),),
        "de": (Description("Denkspiel", ("Zap ist ein Spiel mit Stufen.",)),),
    },
)
RECORD = """\
zap
Source: zap-source
Section: games
Kind: program
Written in: C and C++
Interface: graphical
Depends: libc6, libzop, libzup and perl
Homepage: https://zap.example/
Description: Zap is a game."""
ANSWERS = {
    "section": ("games",),
    "language": ("C and C++", "C", "C++"),
    "interface": ("graphical",),
    "kind": ("program",),
    "purpose": ("puzzle game",),
    "homepage": ("https://zap.example/",),
    "depends": ("libc6, libzop, libzup and perl",),
    "source": ("zap-source",),
}


def test_a_record_shows_its_fields_in_order_and_leaves_out_what_is_not_there() -> None:
    assert record(ZAP, "Zap is a game.") == RECORD
    bare = replace(ZAP, homepage="", depends=(), tags={})
    assert record(bare, "It.") == "zap\nSource: zap-source\nSection: games\nDescription: It."


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.name)
def test_the_answer_stands_in_the_record(question) -> None:
    rng = np.random.default_rng(0)
    found = [question.ask(ZAP, "libother", rng) for _ in range(40)]
    if question.name == "count":  # the record shows four of five
        assert found == [None] * 40
        assert question.ask(replace(ZAP, depends=("libc6",)), "libother", rng) == ("", ("1",))
    elif question.name == "needs":
        assert {each for each in found if each} == {
            ("libother", ("no",)),
            *((name, ("yes",)) for name in ZAP.depends[:SHOWN_DEPENDENCIES]),
        }
        assert question.ask(ZAP, "python3", rng) is None  # which it needs and does not show
    else:
        assert set(found) == {("", ANSWERS[question.name])}
        if question.name != "purpose":
            assert all(answer in RECORD for answer in ANSWERS[question.name])
    bare = replace(ZAP, homepage="", depends=(), tags={})
    asked = question.ask(bare, "libother", rng)
    assert (asked is None) == (question.name not in ("section", "purpose", "source"))


def test_there_are_six_kinds_of_question_and_more_open_and_closed() -> None:
    assert len({each.name for each in QUESTIONS}) == len(QUESTIONS) >= 6
    assert sum(each.closed for each in QUESTIONS) >= 3 <= sum(not each.closed for each in QUESTIONS)


def test_lists_are_read_as_english() -> None:
    assert [listed(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        *("", "a", "a and b", "a, b and c")
    ]


def test_every_format_is_there_and_no_text_is_too_long() -> None:
    long = Description("long game", (" ".join(["Zip zaps."] * 300), "This is the data."))
    packages = [ZAP, replace(ZAP, name="zip", description=long, translations={}, held_out=True)]
    found = list(examples(packages, ruler(), seed=0))
    assert [each.held_out for each in found] == sorted(each.held_out for each in found)
    by_kind = {each.kind: each for each in found if not each.held_out}
    assert by_kind["summary"].prompt == f"Zap is a game. It has levels.{SYNOPSIS}"
    assert by_kind["summary"].answers == ("puzzle game",)
    assert by_kind["fr"].prompt == f"puzzle game{TRANSLATED['fr']}"
    assert by_kind["fr"].answers == ("jeu de réflexion",)
    assert by_kind["prose-de"].answers == ("Zap ist ein Spiel mit Stufen.",)
    paragraphs = [(each.prompt, each.answers[0]) for each in found if each.kind == "fr-paragraph"]
    assert paragraphs[1] == (f"It has levels.{TRANSLATED['fr']}", "Il a des niveaux.")
    assert not any(each.kind == "de-paragraph" for each in found)  # one paragraph for two
    assert sum(each.kind.startswith("answer-") for each in found) == 6
    for each in found:
        assert not each.prompt or each.prompt.endswith(ANSWER_MARKS)
        assert ruler().least_tokens(each.prompt) <= LONGEST_PROMPT
        assert ruler().least_tokens(each.prompt + each.answers[0]) < LONGEST
    summary = next(each for each in found if each.held_out and each.kind == "summary")
    assert summary.prompt.startswith("Zip zaps. Zip")
    assert summary.prompt.endswith(f"zaps. Zip This is the data.{SYNOPSIS}")


def test_what_has_been_trained_on_is_not_held_out() -> None:
    twin = replace(ZAP, name="zap2", held_out=True)
    held = [each.kind for each in examples([twin, ZAP], ruler(), seed=0) if each.held_out]
    assert held and all(kind.startswith("answer-") for kind in held)


def test_a_description_is_shortened_in_the_middle() -> None:
    description = Description("", ("One two three four five six seven eight nine ten.", "The data."))
    assert shortened(description, ruler(), 14) == description.long
    assert shortened(description, ruler(), 12) == "One two three four five six seven eight The data."
    assert shortened(description, ruler(), 6) == "One two three four five six"
