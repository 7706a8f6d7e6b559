"""Tiny tasks written out as tables: every text, with the history before each of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reward.automaton import RewardAutomaton
from tests import oracles
from tests.oracles import Instance, random_rows

Array = np.ndarray


def draw(seed: int, *, terminal: bool = False) -> Instance:
    """A random task of at most a few dozen texts; rewards at the end come in few levels."""
    rng = np.random.default_rng(seed)
    tokens, states, horizon = int(rng.integers(2, 4)), int(rng.integers(2, 5)), int(rng.integers(2, 4))
    rows = random_rows(rng, tokens + 1, tokens)
    absorbing = (rng.random(states) < 0.25) & (np.arange(states) > 0)
    start = rng.dirichlet(np.ones(states)) * ~absorbing if seed % 2 else np.eye(states)[0]
    automaton = RewardAutomaton(
        rng.integers(states, size=(states, tokens)),
        None if terminal else rng.normal(size=(states, tokens)),
        rng.integers(4, size=states) / 3,
        start / start.sum(),
        absorbing=absorbing,
        horizon_reward=rng.integers(4, size=states) / 3,
    )
    end_token = int(rng.integers(tokens)) if seed % 3 else None
    kl_coef = float(np.exp(rng.uniform(-1.5, 0.5)))
    return Instance(MarkovReference(rows[-1], rows[:-1]), automaton, horizon, end_token, kl_coef)


@dataclass
class Texts:
    """Every text of a task: N of them, T tokens long at most, after H histories.

    Attributes:
        history: int64 [N, T], the number of the history before each token; 0 behind the end.
        token: int64 [N, T]; 0 behind the end.
        written: bool [N, T].
        paid: float64 [N, T], the reward of each token.
        reference: float64 [N, T], log pi0 of each token.
        start: int64 [N], the start that a text grew from.
        chance: float64 [N], the probability of that start.
        contexts, states, times: int64 [H], of each history.
    """

    history: Array
    token: Array
    written: Array
    paid: Array
    reference: Array
    start: Array
    chance: Array
    contexts: Array
    states: Array
    times: Array

    @property
    def reward(self) -> Array:
        return self.paid.sum(axis=1)

    @property
    def log_reference(self) -> Array:
        return self.reference.sum(axis=1)


def written_out(task: Instance) -> Texts:
    """Every text, token by token."""
    histories: dict[tuple[int, oracles.Text], tuple[int, int, int, int]] = {}  # number, context, state, time
    found: list[tuple[int, float, list[tuple[int, int, float, float]]]] = []
    for start, (state, chance) in enumerate(oracles.starts(task)):
        for text, log_probs, pay in oracles.written_out(task, state):
            steps, now = [], state
            for time, token in enumerate(text):
                at = (len(histories), task.context(text[:time]), now, time)
                number, *_ = histories.setdefault((start, text[:time]), at)
                steps.append((number, token, pay[time], log_probs[time]))
                now = task.transition[now][token]
            found.append((start, chance, steps))
    shape = (len(found), task.horizon)
    history, token = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    written, paid, reference = np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(shape)
    for row, (_, _, steps) in enumerate(found):
        for place, step in enumerate(steps):
            written[row, place] = True
            for column, value in zip((history, token, paid, reference), step, strict=True):
                column[row, place] = value
    _, contexts, states, times = np.array(list(histories.values())).T
    starts, chances = np.array([one for one, _, _ in found]), np.array([chance for _, chance, _ in found])
    return Texts(history, token, written, paid, reference, starts, chances, contexts, states, times)


def level_of(law: TerminalLaw, texts: Texts) -> Array:
    """int64 [N], where the reward of each text stands among the levels."""
    return np.abs(texts.reward[:, None] - law.rewards).argmin(axis=1)


def text_law(law: TerminalLaw, texts: Texts, tilted: Array) -> Array:
    """pi(x | start) = pi0(x | start) q(r) / p(r), float64 [N]."""
    level = level_of(law, texts)
    return np.exp(texts.log_reference) * tilted[texts.start, level] / law.probabilities[texts.start, level]


def rows_of(texts: Texts, chances: Array, tokens: int) -> Array:
    """log pi [H, V] at every history of the law of texts, given each start."""
    joint = np.zeros((len(texts.times), tokens))
    row, place = np.nonzero(texts.written)
    np.add.at(joint, (texts.history[row, place], texts.token[row, place]), chances[row])
    return np.log(joint) - np.log(joint.sum(axis=1, keepdims=True))
