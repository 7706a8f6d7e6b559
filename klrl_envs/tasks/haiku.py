"""Haiku: form as a reward.

## Description
Write a text of 5, 7 and 5 syllables whose lines end where words do, and each on a word of some
content.

## Action Space
``Discrete(1993)``: the next word of the reference ``words``. Words that the CMU dictionary lacks,
marks and the end token are no tokens of this task; what is left keeps its odds.

## Observation Space
``Box(int64, (17,))``: the words written so far, padded on the right with 1993.
The features id shows instead the syllables so far (one of 0 to 17, or the line that broke the
form), the time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
1 on the 17th syllable of a text that has word ends after the 5th, the 12th and the 17th, the word
there being none of the 150 commonest, which are mostly grammar ("of", "the"); else 0. KL is not part
of the reward.

## Episode End
After 17 syllables, after the first word that reaches beyond the end of its line or may not stand
there, or after ``horizon`` words, of which 17 are always enough; all terminate.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``, a line each, ``success`` and ``lines``,
the number of complete lines.

## Arguments
``kl_coef`` (.1), ``horizon`` (17), ``content_ends`` (True; where False, any word may end a line, and
pi0 succeeds two times in five), ``reference`` ("words").

## Optimum
Exact: a bigram times an automaton over the syllables so far, 0 to 17, and one state for each line
that can break.

## References
Syllables: the CMU Pronouncing Dictionary, first pronunciation; card of ``words.lexicon``.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from klrl_envs.reference.arrays import BoolArray, IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import digest

LINES = (5, 7, 5)


def task(
    *, kl_coef: float, horizon: int = 17, content_ends: bool = True, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    if not isinstance(content_ends, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"content_ends must be true or false, got {content_ends!r}")
    lexicon = word_lexicon()
    known = lexicon.syllables > 0
    kept = tuple(word for word, has in zip(lexicon.words, known, strict=True) if has)
    may_end = lexicon.classes[known] >= 0 if content_ends else np.ones(len(kept), dtype=np.bool_)
    return haiku_task(
        load(reference, allowed=("words",), kept=kept, ends=False),
        lexicon.syllables[known],
        may_end,
        LINES,
        kl_coef=kl_coef,
        horizon=horizon,
    )


class VerseVocabulary(WordVocabulary):
    """Words whose text is broken into lines by their syllables.

    Args:
        words: the tokens' strings, distinct; there is no end token.
        syllables: of each word.
        lines: syllables of each line; a text goes on in the last line.
    """

    def __init__(self, words: tuple[str, ...], syllables: Sequence[int], lines: Sequence[int]) -> None:
        super().__init__(words, None)
        self.syllables = [int(count) for count in syllables]
        self.ends = np.cumsum(lines).tolist()[:-1]

    def decode(self, tokens: Sequence[int]) -> str:
        """The words, with a line break after the word that ends a line."""
        pieces: list[str] = []
        total = 0
        for token in tokens:
            breaks = total in self.ends
            pieces += [("\n" if breaks else " ") if pieces else "", self.token_string(int(token))]
            total += self.syllables[int(token)]
        return "".join(pieces)


def haiku_task(
    model: LanguageModel,
    syllables: IntArray,
    may_end: BoolArray,
    lines: Sequence[int],
    *,
    kl_coef: float,
    horizon: int,
) -> AutomatonTask:
    """The task over any words and any form.

    Args:
        model: the reference, without an end token.
        syllables: int64 [V], at least 1.
        may_end: bool [V], the words that may end a line.
        lines: the syllables of each line.
        kl_coef: in units of reward per nat.
        horizon: words.
    """
    automaton = verse_automaton(syllables, may_end, lines)
    total = sum(lines)
    complete = np.searchsorted(np.cumsum(lines), np.arange(total + 1), side="right")
    return AutomatonTask.of(
        replace(model, vocabulary=VerseVocabulary(model.words, syllables.tolist(), lines)),
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        reward_fingerprint=digest(syllables, may_end, np.array(lines)),
        state_features=np.eye(automaton.states, dtype=np.float32),
        final_metrics={
            "success": automaton.final_reward,
            "lines": np.append(complete, np.arange(len(lines))).astype(np.float64),
        },
    )


def verse_automaton(syllables: IntArray, may_end: BoolArray, lines: Sequence[int]) -> RewardAutomaton:
    """States 0 to n are the syllables so far, of n in all; state n + 1 + i is a broken line i."""
    ends = np.cumsum(lines)
    total = int(ends[-1])
    states = total + 1 + len(lines)
    transition = np.repeat(np.arange(states)[:, None], len(syllables), axis=1)
    for line, end in enumerate(ends):
        so_far = np.arange(end - lines[line], end, dtype=np.int64)
        after = so_far[:, None] + syllables
        stays = (after < end) | ((after == end) & may_end)
        transition[so_far] = np.where(stays, after, total + 1 + line)
    over = np.arange(states) >= total
    return RewardAutomaton(transition, final_reward=np.arange(states) == total, absorbing=over)
