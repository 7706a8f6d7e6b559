"""A task whose tokens may be words of the prompt: whoever shows or reads a text does so behind its prompt."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from klrl_envs import Prompts, TextTask
from klrl_envs.cli import play
from klrl_envs.envs.engine import Engine
from klrl_envs.envs.rendering import as_text
from klrl_envs.evaluation.shown_texts import reference_texts
from klrl_envs.integrations.trl import RewardFunction
from klrl_envs.optima.optimum import NotCertified
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.slot_words import UNKNOWN_TEXT, SlotVocabulary

MARK = "\nSynopsis: "
PROMPTS = [f"the Zap for Zup{MARK}", f"library for the zip{MARK}", f"the library{MARK}"]
VOCABULARY = SlotVocabulary(
    fields=(), answers=(MARK,), slots=2, separators=(" ", "."), words=("the", "library", "for")
).with_prompts(PROMPTS)
SLOT = VOCABULARY.first_slot
SLOTS_ONLY = np.where(np.isin(np.arange(VOCABULARY.size), [SLOT, SLOT + 1]), 0.49, 1e-9)


def names_of_prompts(
    tokens: Any, lengths: Any, texts: Any
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], dict[str, Any]]:
    """1 for a text that says "Zap" behind its prompt."""
    return np.array([float("Zap" in text.partition(MARK)[2]) for text in texts]), {}


def slot_task(horizon: int = 3) -> TextTask:
    """pi0 writes the two slots, at random."""
    rows = np.log(np.tile(SLOTS_ONLY / SLOTS_ONLY.sum(), (VOCABULARY.size, 1)))
    return TextTask(
        reference=MarkovReference(rows[0], rows), vocabulary=VOCABULARY, end_token=0, horizon=horizon,
        kl_coef=0.5, reward_range=(0.0, 1.0), reward_fingerprint="0", score_texts=names_of_prompts,
        prompts=Prompts.padded([VOCABULARY.encode(text) for text in PROMPTS], 0),
    )  # fmt: skip


def test_the_vocabulary_behind_a_prompt_has_its_words_in_the_slots() -> None:
    behind = VOCABULARY.after(PROMPTS[0])
    tokens = behind.encode("Zup for zip Zap")
    assert [behind.token_string(token) for token in tokens] == ["Zup", "for", UNKNOWN_TEXT, "Zap"]
    assert tokens == VOCABULARY.encode(f"{PROMPTS[0]}Zup for zip Zap")[-4:]
    assert behind.decode(tokens) == f"Zup for {UNKNOWN_TEXT} Zap"
    assert behind.beginning("Zup for zip", 2) == "Zup for"
    # no slot is free behind a prompt without rare words, and none is filled behind a prompt that is not known
    assert VOCABULARY.after(PROMPTS[2]).decode([SLOT]) == "<1>"
    assert VOCABULARY.after(PROMPTS[2]).encode("Zup") == VOCABULARY.after("Zup").encode("Zup") == [1]
    assert VOCABULARY.decode([SLOT]) == "<1>", "the vocabulary itself is as it was"


def test_samples_and_pictures_show_the_words() -> None:
    task = slot_task()
    names = [{"Zap", "Zup"}, {"zip", "<2>"}, {"<1>", "<2>"}]
    for place, text in enumerate(reference_texts(task, np.arange(3), seed=0)):
        assert text.prompt == PROMPTS[place]
        assert text.written and set(text.written.split(" ")) <= names[place]
        assert text.reward == float("Zap" in text.written)
    engine = Engine(task, 1)
    engine.seed_lanes([np.random.default_rng(0)])
    engine.reset(np.zeros(1, dtype=np.int64), 0)
    engine.step(np.array([SLOT + 1]), np.array([True]))
    assert as_text(engine, 0) == f"{PROMPTS[0]}|Zup"


def test_texts_of_trainers_are_read_behind_their_prompts() -> None:
    task = slot_task()
    reward = RewardFunction(task, "slots")
    written, ids = ["Zap for Zup", "Zup"], [[SLOT, VOCABULARY.encode("for")[0], SLOT + 1], [SLOT + 1, 0]]
    assert reward([PROMPTS[0]] * 2, written, ids) == [1.0, 0.0]
    for text, tokens in zip(written, ids, strict=True):
        assert task.own_tokens(text, tokens, PROMPTS[0]) == tokens
        assert task.own_tokens(text, tokens, PROMPTS[1]) is None
        assert task.episode_tokens(text, prompt=PROMPTS[0]) == tokens
    assert task.token_counts([PROMPTS[0]] * 2, written, ids).tolist() == [3, 2]
    # the horizon has room for three words: the name is the fourth
    assert reward(PROMPTS[:1], ["the library for Zap"]) == [0.0]


def test_a_player_sees_and_writes_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_certified(*_: Any, **__: Any) -> None:
        raise NotCertified("no")

    monkeypatch.setattr(play, "evaluation_task", lambda *_: slot_task())
    monkeypatch.setattr(play, "optimum", not_certified)
    monkeypatch.setattr("sys.stdin", io.StringIO("Zup\nfor Zap\n"))
    console = Console(file=io.StringIO(), width=120)
    play.play_text("klrl/Sentiment-v0", {}, prompt=0, choices=2, seed=0, console=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "'Zap'" in shown and "'Zup'" in shown and "<1>" not in shown
    assert f"{PROMPTS[0]}|Zup for Zap" in shown
    assert "1.0000" in next(line for line in shown.splitlines() if line.startswith("│ reward"))
