"""Every short text over three tokens, and what an automaton pays for it."""

from __future__ import annotations

import itertools

import numpy as np

from klrl_envs.reward.automaton import RewardAutomaton


def worth(automaton: RewardAutomaton, text: tuple[int, ...]) -> float:
    """What an automaton pays for a text that the horizon ends."""
    state, total = int(np.flatnonzero(automaton.start)[0]), 0.0
    for token in text:
        total += automaton.reward[state, token]
        state = automaton.transition[state, token]
    return float(total + automaton.horizon_reward[state])


def short_texts(longest: int = 5):
    """All texts over three tokens."""
    return itertools.chain.from_iterable(
        itertools.product(range(3), repeat=length) for length in range(longest + 1)
    )
