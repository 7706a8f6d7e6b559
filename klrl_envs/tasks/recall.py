"""Recall: the last word must remember the first.

## Description
Write a text of a given length whose last word is of the same class as its first: a name for a name,
a word of praise for a word of praise. What stands between does not matter.

## Action Space
``Discrete(2010)``: the next word or mark of the reference ``words``, which has no end token here;
the others keep their odds.

## Observation Space
``Box(int64, (16,))``: the tokens written so far, padded on the right with 2010.
The features id shows instead the class of the first word (one of 16, none, or nothing written),
whether the last word is of it, the time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: 1 if the last word is of the class of the first. Marks and the ``commonest`` words
("the", "of") have no class, and a text that begins with one of these earns nothing. KL is not part of
the reward.

## Episode End
After ``horizon`` tokens, always; it terminates. There is no end token: a text that could stop at any
match would have little to remember.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``, ``matches`` (0 or 1) and ``classed``,
whether the first word has a class.

## Arguments
``kl_coef`` (.1), ``horizon`` (16), ``commonest`` (20 words, by frequency, without a class; with 150
the reward is as rare as 1 in 200 texts of pi0), ``reference`` ("words").

## Optimum
Exact: a bigram times an automaton over the class of the first word and whether the last one matches
(34 states).

pi* begins with every class, with 42 % of its texts in the likeliest. A class has to be found by its own
hits, one text of pi0 in some twenty that begin with it; a policy that knows one by then begins with no
other, and learns of no other from its own texts. The best policy that keeps to one class scores .853.

## References
Classes: k-means on word vectors, each with its most typical words in the card of ``words.lexicon``;
the 150 commonest words go to the class that is nearest to their vector.
Memory over a fixed delay: Osband et al. 2020 (arXiv 1908.03568), ``memory_len``.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.lexicon import CLASSES, every_word, word_lexicon
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import digest, is_whole

START, NO_CLASS = 0, 1


def task(
    *, kl_coef: float, horizon: int = 16, commonest: int = 20, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    lexicon = word_lexicon()
    classes = lexicon.nearest_classes.copy()
    classed = np.flatnonzero(classes >= 0)  # by falling frequency, as all tokens that are words
    if not is_whole(commonest) or not 0 <= commonest < len(classed):
        raise ValueError(f"commonest must be a whole number in 0..{len(classed) - 1}, got {commonest}")
    classes[classed[:commonest]] = -1
    return recall_task(
        load(reference, allowed=("words",), kept=every_word(lexicon), ends=False),
        classes[1:],
        CLASSES,
        kl_coef=kl_coef,
        horizon=horizon,
    )


def recall_task(
    model: LanguageModel,
    classes: IntArray,
    count: int,
    *,
    kl_coef: float,
    horizon: int,
) -> AutomatonTask:
    """The task over any words.

    Args:
        model: the reference, without an end token.
        classes: int64 [V], 0 to count - 1, or -1 for none.
        count: the number of classes.
        kl_coef: in units of reward per nat.
        horizon: tokens.
    """
    automaton = recall_automaton(classes, count)
    states = np.arange(automaton.states)
    # nothing written, no class, then each class twice
    first = np.where(states < 2, states, states // 2 + 1)
    matches = automaton.final_reward
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        reward_fingerprint=digest(classes),
        state_features=np.column_stack([np.eye(count + 2)[first], matches]).astype(np.float32),
        final_metrics={"matches": matches, "classed": (states > NO_CLASS).astype(np.float64)},
    )


def recall_automaton(classes: IntArray, count: int) -> RewardAutomaton:
    """State 0: nothing written. 1: no class. 2 + 2c + m: first class c, m whether the last word is of it."""
    transition = np.empty((2 + 2 * count, len(classes)), dtype=np.int64)
    transition[START] = np.where(classes < 0, NO_CLASS, 3 + 2 * classes)
    transition[NO_CLASS] = NO_CLASS
    for first in range(count):
        transition[2 + 2 * first : 4 + 2 * first] = 2 + 2 * first + (classes == first)
    states = np.arange(len(transition))
    return RewardAutomaton(transition, final_reward=(states > NO_CLASS) & (states % 2 == 1))
