"""Arithmetic: a verifiable reward, and a reference that has been told something, sometimes wrong.

## Description
Write the sum of two numbers and stop. The prompt ends in a hint at the first digit of the sum, which the
reference leans to, and which is wrong three times in ten.

## Action Space
``Discrete(23)``: 0 ends the text, 1 to 10 are the digits 0 to 9, 11 ``+``, 12 ``=``, 13 to 22 the hints
``~0:`` to ``~9:``.

## Observation Space
``Box(int64, (11,))``: seven tokens of prompt and the tokens written so far, padded on the right with
the end token. The features id shows instead the prompt's four digits (one-hot, 40), how many
digits were right before the first wrong token (one-hot, 3) and whether none was wrong, the time left
and the row log pi0(.|last token), float32.

## Starting State
A prompt such as ``37+58=~9:``, with two numbers of two digits, as their sum is, and a hint. Of the
3,240 pairs, in an order given by a hash of the pair, the first 128 evaluate and the next 2,048 train;
the same hash says which hints are wrong, and what they say. ``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: 1 for the digits of the sum and nothing else, else 0. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same: nothing at the default, where four tokens are too many for a sum.

## Information
``prompt`` at the start, ``reference_log_prob`` (nats) each step; at the end ``text`` and ``digits``,
the share of the sum's digits that were right before the first wrong token.

## Arguments
``kl_coef`` (.16), ``horizon`` (4), ``reference`` ("hinted": a bigram in which the hinted digit has
probability .4 after its hint and the end .4 after a digit, other symbols than digits and the end have .01
together, and all else is even), ``prompts`` ("train" or "evaluation").

## Optimum
Exact, prompt by prompt: an automaton each of the digits matched. J* is the mean over the evaluation
prompts. As one text of each prompt is right, it is in closed form too: kl_coef log(1 + p (e^{1/kl_coef}
- 1)), where p is the reference's probability of that text, a seventh of what it is elsewhere where the
hint is wrong.

## References
Verifiable rewards: Lambert et al. 2024 (arXiv 2411.15124).

## Version History
v0: first version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.hinted import END_TOKEN, EQUALS, HINT, PLUS, SYMBOLS, ZERO
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Prompts

LEAST, MOST = 10, 99
"""Operands are at least the one, sums at most the other."""
MOST_DIGITS = 2
PROMPTS = {"evaluation": slice(0, 128), "train": slice(128, 2176)}

WRONG_HINTS = 0.3


def task(
    *, kl_coef: float, horizon: int = 4, reference: str = "hinted", prompts: str = "train"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=("hinted",))
    pairs = hashed_pairs()[PROMPTS[prompts]]
    rows = np.array([prompt_of(*pair) for pair in pairs])
    automaton, starts, features, share = sums(pairs)
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        prompts=Prompts.equal(rows),
        state_features=features,
        prompt_states=starts,
        final_metrics={"digits": share},
    )


def digest_of(first: int, second: int) -> bytes:
    """What a pair of numbers is ordered by, and what makes its hint."""
    return hashlib.sha256(f"{first}+{second}".encode()).digest()


@lru_cache(maxsize=1)
def hashed_pairs() -> tuple[tuple[int, int], ...]:
    """All pairs of operands in the order of their digests."""
    pairs = [(first, second) for first in range(LEAST, MOST) for second in range(LEAST, MOST + 1 - first)]
    return tuple(sorted(pairs, key=lambda pair: digest_of(*pair)))


def hint_of(first: int, second: int) -> int:
    """The hint at the first digit of a sum; for ``WRONG_HINTS`` of all pairs another digit of 1 to 9."""
    right = int(str(first + second)[0])
    *_, luck, other = digest_of(first, second)
    return (right + other % 8) % 9 + 1 if luck < 256 * WRONG_HINTS else right


def prompt_of(first: int, second: int) -> list[int]:
    """The seven tokens of a prompt."""
    operands = [[ZERO + int(digit) for digit in str(number)] for number in (first, second)]
    return [*operands[0], PLUS, *operands[1], EQUALS, HINT + hint_of(first, second)]


def sums(
    pairs: Sequence[tuple[int, int]],
) -> tuple[RewardAutomaton, IntArray, NDArray[np.float32], FloatArray]:
    """One automaton a pair, side by side: the digits of the sum matched so far, and whether one was wrong.

    Returns:
        The automaton; int64 [M], its state after each prompt; float32 [Q, 44], its features; float64 [Q], the
        share of the digits that were right.
    """
    places = MOST_DIGITS + 1
    count = len(pairs)
    # state = (pair * 2 + wrong) * 3 + digits matched
    states = np.arange(count * 2 * places)
    matched, wrong, pair = states % places, states // places % 2, states // (2 * places)
    answers = [str(first + second) for first, second in pairs]
    size = np.array([len(answer) for answer in answers])[pair]
    padded = np.array([[int(digit) for digit in answer.ljust(places, "0")] for answer in answers])
    transition = np.repeat((states + places * (1 - wrong))[:, None], len(SYMBOLS), axis=1)
    transition[:, END_TOKEN] = states
    going = np.flatnonzero((wrong == 0) & (matched < size))
    transition[going, ZERO + padded[pair[going], matched[going]]] = going + 1
    digits = np.array([[int(digit) for digit in f"{first}{second}"] for first, second in pairs])
    one_hot = np.eye(10, dtype=np.float32)[digits].reshape(count, 40)
    features = np.concatenate(
        [one_hot[pair], np.eye(places, dtype=np.float32)[matched], 1 - wrong[:, None]],
        axis=1,
        dtype=np.float32,
    )
    right = (wrong == 0) & (matched == size)
    automaton = RewardAutomaton(transition, final_reward=right, start=0)
    return automaton, np.arange(count) * 2 * places, features, np.minimum(matched / size, 1.0)
