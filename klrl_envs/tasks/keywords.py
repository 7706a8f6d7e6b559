"""Keywords: lexically constrained generation with an exact optimum.

## Description
Write a text in which as many as possible of eight given words occur, and which is otherwise what
a bigram model of film reviews would write.

## Action Space
``Discrete(V)`` with V about 2,000: the next word or mark of the reference ``words``; 0 ends the
text.

## Observation Space
``Box(int64, (24,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which words have occurred (8 bits), the time left and the row
log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: the fraction of the given words that occur. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth
the same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` and ``found``, the number of given words
that occur.

## Arguments
``kl_coef`` (.04), ``horizon`` (24), ``keywords`` (eight words of the vocabulary; at most ten),
``reference`` ("words", or "words-trigram", which knows two words back and needs a minute and 2 GB for
the optimum of eight keywords, seconds for two).

## Optimum
Exact: an n-gram times an automaton over the subsets of words found (2^8 states).

## References
Lexically constrained generation; theory of soft dynamic programming in ``klrl_envs.optima``.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.catalogue import load
from klrl_envs.reward.automata import binary, from_keywords
from klrl_envs.tasks.automaton_task import AutomatonTask

KEYWORDS = ("film", "movie", "story", "good", "great", "acting", "plot", "funny")
MOST_KEYWORDS = 10


def task(
    *, kl_coef: float, horizon: int = 24, keywords: Sequence[str] = KEYWORDS, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=("words", "words-trigram"))
    given = list(keywords)
    if not 1 <= len(given) <= MOST_KEYWORDS or len(set(given)) != len(given):
        raise ValueError(f"keywords must be 1 to {MOST_KEYWORDS} distinct words, got {given}")
    tokens = [token_of(model.vocabulary.encode(word), word) for word in given]
    automaton = from_keywords(tokens, model.vocab_size)
    occurred = binary(automaton.states, len(given))
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=occurred.astype(np.float32),
        final_metrics={"found": occurred.sum(axis=1).astype(np.float64)},
    )


def token_of(tokens: list[int], word: str) -> int:
    """The one token of a word.

    Raises:
        ValueError: the word is several tokens.
    """
    if len(tokens) != 1:
        raise ValueError(f"keywords must be single words of the vocabulary, {word!r} is {len(tokens)} tokens")
    return tokens[0]
