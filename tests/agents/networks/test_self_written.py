"""Texts that are written to oneself: their log-probs are those of pi0 and of the policy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.categorical import ResidualScores
from agents.networks.self_written import SelfWritten, heads_read, joined, words_along, write
from klrl_envs import Task
from klrl_envs.networks.word_heads import WordHeads
from klrl_envs.networks.words import keys_of, read_words

PROMPTS = np.array([0, 0, 5, 9])


@lru_cache(maxsize=1)
def task() -> Task:
    return klrl_envs.find_row("klrl/Sentiment-v0").make(horizon=6)


def policy() -> WordHeads:
    torch.manual_seed(1)
    heads = WordHeads(task(), size=8, width=16, bits=10)
    torch.nn.init.normal_(heads.actor[-1].weight, std=0.1)  # type: ignore[arg-type]
    heads.words.set(keys_of(["the", "good", "and"]), np.array([1.0, 2.0, -1.0]), (0.5, 0.0, 0.1, 0.0))
    return heads


def written(heads: WordHeads | None) -> SelfWritten:
    return write(task(), heads, PROMPTS, torch.Generator().manual_seed(4))


def test_texts_of_the_reference_have_its_log_probs_and_none_besides() -> None:
    texts = written(None)
    whole = task().reference.sequence_log_probs(texts.tokens.numpy(), texts.first.numpy(), texts.lengths)
    assert texts.log_probs.sum(1).numpy() == pytest.approx(whole.sum(1), abs=1e-3)
    assert texts.log_ratios.abs().max() < 1e-6
    assert (texts.tokens[:, :8].numpy() == task().prompts.tokens[PROMPTS]).all()


def test_what_is_read_again_is_what_was_written() -> None:
    heads = policy()
    texts = written(heads)
    reference, residual = heads_read(heads, texts, torch.arange(4))
    scores = ResidualScores.apply(reference.log_softmax(-1), residual, texts.actions[texts.mask])
    torch.testing.assert_close(scores[0], texts.log_probs[texts.mask], atol=1e-4, rtol=1e-4)
    taken = reference.log_softmax(-1).gather(-1, texts.actions[texts.mask][:, None])[:, 0]
    torch.testing.assert_close(scores[0] - taken, texts.log_ratios[texts.mask], atol=1e-4, rtol=1e-4)
    assert texts.log_ratios.abs().max() > 0.01


def test_words_along_a_text_are_those_before_each_step() -> None:
    heads = policy()
    texts = written(heads)
    along = words_along(heads.words, texts, torch.arange(4))
    assert len(along) == texts.mask.shape[1]
    for step, words in enumerate(along):
        lengths = texts.first + step
        expected = read_words(heads.words, texts.tokens, lengths, texts.tokens.shape[1] + 1)
        there = texts.mask[:, step]
        torch.testing.assert_close(words.sums[there], expected.sums[there])
        assert (words.current[there] == expected.current[there]).all()


def test_parts_are_joined_in_order() -> None:
    texts = written(None)
    whole = joined([texts.part(1), texts.halved().part(3)])
    assert whole.texts == [texts.texts[0], *texts.texts[:3]] and len(whole) == 4
    assert whole.tokens.shape == (4, 14) and whole.hidden.shape[:2] == (4, 6)
