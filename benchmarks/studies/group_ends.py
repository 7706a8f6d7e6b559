"""Where GRPO's loss with its KL in it sends a policy log pi0 + f(state, time), for groups of some size.

The loss has token-level k3 in it; a text's advantage A is its reward less its group's mean, over the group's
standard deviation or not; a text's tokens count w = 1, or w = 1 / length. With X = E[w A | token] and
W = E[w | token] of the texts that a token leads to, the expected update of f at a state is

    S_c d(c) [pi (X - beta W) + beta W pi0 - pi K(c)],    K(c) = S_v pi (X - beta W) + beta W pi0,

d(c) the probability that the policy comes there with the reference in its context c. With one context it
rests where pi = beta W pi0 / (lambda + beta W - X); f has to suit all of them at once. The end is found by
following the update, scaled token by token, from pi0 to where it rests. Notation as in ``fixed_points``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from scipy.special import gammaln, log_softmax

from benchmarks.studies.fixed_points import TablePolicy
from klrl_envs.optima.problem import Problem
from klrl_envs.reference.arrays import FloatArray, IntArray

SMALL = 1e-6
"""Beside a standard deviation, as trainers have it."""
STEP, SWEEPS, SETTLED = 0.3, 4_000, 1e-7
"""How far f moves in a sweep, how many sweeps there are at most, and which product of a token's chance and
update, the largest of all, counts as rest."""
MOST_GROUPS = 1_000_000
"""Ways to count a group's rewards that are gone through."""

Heads = list[FloatArray]
"""f: for each time [V, Q_t] of the states that are reached then."""


@dataclass(frozen=True)
class GroupSignal:
    """The switches that decide where the loss ends.

    Attributes:
        group: texts of a prompt, at least 2.
        deviation: whether advantages are divided by the group's standard deviation.
        by_length: whether a text's tokens are averaged, in place of summed.
    """

    group: int
    deviation: bool
    by_length: bool


def end_of(problem: Problem, kl_coef: float, signal: GroupSignal) -> Heads:
    """The f in which the loss's update rests.

    Args:
        problem: paid at the end, deterministic, its reference a bigram. Prompts that begin in one state of
            the automaton are taken for one: their texts have one law of advantages, where a group's are of
            one prompt. With divided advantages that is an approximation where their laws differ.
        kl_coef: beta.
        signal: what the loss does.

    Raises:
        ValueError: a reward that is paid before the end, stochastic execution or replies, a state that two
            starts reach, too many different rewards for the group, or an update that does not come to rest.
    """
    if not problem.automaton.terminal or not problem.automaton.deterministic:
        raise ValueError("the reward must be paid at the end, and nothing else be drawn than tokens")
    owner = owners(problem)
    heads = [np.zeros((problem.automaton.vocab_size, states.size)) for states in problem.reached]
    for _ in range(SWEEPS):
        policy = policy_of(problem, heads)
        masses, ends = forward(policy)
        advantages = advantages_of(problem, owner, ends, signal)
        updates = scaled_updates(policy, masses, advantages, kl_coef, by_length=signal.by_length)
        moved = 0.0
        for head, (update, chance) in zip(heads, updates, strict=True):
            head += STEP * update
            moved = max(moved, float(np.abs(update * chance).max(initial=0.0)))
        if moved < SETTLED:
            return heads
    raise ValueError(f"the update at kl_coef {kl_coef:g} does not come to rest in {SWEEPS:,} sweeps")


def policy_of(problem: Problem, heads: Heads) -> TablePolicy:
    """The policy log pi0 + f, normalised."""
    rows = problem.reference.rows(np.arange(problem.reference.contexts))[:, :, None]
    return TablePolicy(problem, [log_softmax(rows + head, axis=1) for head in heads])


def owners(problem: Problem) -> IntArray:
    """Which of the states that begin a text leads to each state [Q]; -1 where none does."""
    automaton = problem.automaton
    owner = np.full(automaton.states, -1)
    for number, start in enumerate(np.unique(problem.starts[1])):
        seen = np.arange(automaton.states) == start
        while True:
            further = seen.copy()
            further[automaton.transition[seen & ~automaton.absorbing].ravel()] = True
            if (further == seen).all():
                break
            seen = further
        if (owner[seen] >= 0).any():
            raise ValueError("two starts reach one state, so that a state's advantage has no single law")
        owner[seen] = number
    return owner


def forward(policy: TablePolicy) -> tuple[list[FloatArray], FloatArray]:
    """The chance of each place, for each time [C, Q_t]; and of each end, [2, Q]: there, or at the horizon."""
    problem = policy.problem
    context, state, chance = problem.starts
    mass = np.zeros((problem.reference.contexts, problem.reached[0].size))
    np.add.at(mass, (context, problem.places[0][state]), chance)
    masses, ended = [], np.zeros(problem.automaton.states)
    for time, table in enumerate(policy.tables):
        masses.append(mass)
        over, mass = problem.advance((mass[:, None] * np.exp(table)).sum(axis=0), time)
        ended += over
    late = mass.sum(axis=0) if mass.size else np.zeros_like(ended)
    return masses, np.stack([ended, late])


def advantages_of(problem: Problem, owner: IntArray, ends: FloatArray, signal: GroupSignal) -> FloatArray:
    """What a text that ends in a state is worth in its group, [2, Q] as ``ends``, the chances of that."""
    automaton = problem.automaton
    paid = np.stack([automaton.final_reward, automaton.horizon_reward])
    worth = np.zeros_like(paid)
    for number in range(owner.max() + 1):
        own = np.broadcast_to(owner == number, paid.shape)
        rewards, level = np.unique(paid[own], return_inverse=True)
        chances = np.bincount(level, weights=ends[own], minlength=len(rewards))
        worth[own] = expected_advantages(rewards, chances / chances.sum(), signal)[level]
    return worth


def scaled_updates(
    policy: TablePolicy, masses: Sequence[FloatArray], ends: FloatArray, kl_coef: float, *, by_length: bool
) -> list[tuple[FloatArray, FloatArray]]:
    """For each time the update of f [V, Q_t], each token's over its size; and the chance of each token.

    The size is the largest of the update's two parts and of how far advantages at the state lie apart. It is
    above 0, so that the scaled update rests where the update does, and makes steps of rare and common tokens
    alike.

    Args:
        policy: at which.
        masses: the chance of each context and state, see ``forward``.
        ends: the advantages of texts that end in a state, [2, Q].
        kl_coef: beta.
        by_length: whether w is 1 / length, else 1.
    """
    problem = policy.problem
    reference = np.exp(problem.reference.rows(np.arange(problem.reference.contexts)))[:, :, None]
    values: FloatArray | None = None
    found: list[tuple[FloatArray, FloatArray]] = []
    for time in reversed(range(problem.horizon)):
        weight = 1 / (time + 1) if by_length else 1.0
        advantage, share = ahead(problem, values, time, weight * np.stack([ends, np.ones_like(ends)]))
        rows, mass = np.exp(policy.tables[time]), masses[time][:, None]
        level = (rows * (advantage - kl_coef * share) + kl_coef * reference * share).sum(
            axis=1, keepdims=True
        )
        chance = (mass * rows).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            rising = kl_coef * share * (mass * reference).sum(axis=0) / chance
            mean_level = (mass * rows * level).sum(axis=0) / chance
            falling = mean_level - advantage + kl_coef * share
            spread = (chance * np.abs(advantage - mean_level)).sum(axis=0) / chance.sum(axis=0)
            size = np.maximum(np.maximum(rising, np.abs(falling)), spread)
            update = np.where((chance > 0) & (size > 0), (rising - falling) / size, 0.0)
        found.append((update, chance))
        values = np.stack([(rows * advantage).sum(axis=1), (rows * share).sum(axis=1)])
    return found[::-1]


def ahead(problem: Problem, values: FloatArray | None, time: int, ends: FloatArray) -> FloatArray:
    """X and W [2, V, Q_t] of each token: those of the end that it is, or of what follows.

    Args:
        problem: see ``end_of``.
        values: [2, C, Q_(t+1)], their means where a text goes on; None on the last step.
        time: tokens written before.
        ends: [2, 2, Q], theirs of texts that end here by themselves, and at the horizon.
    """
    after, over = problem.arrivals(time)
    if values is None or not values.size:
        going_on = ends[:, 1, after]
    else:
        place = np.maximum(problem.places[time + 1][after], 0)
        going_on = values[:, problem.reference.arc_contexts[:, None], place]
    return np.where(over, ends[:, 0, after], going_on)


def expected_advantages(rewards: FloatArray, chances: FloatArray, signal: GroupSignal) -> FloatArray:
    """What each reward [U] is worth in a group, the mean over the others' rewards; chances [U] of each."""
    held = np.flatnonzero(chances > 0)
    ways = comb(signal.group + len(held) - 2, len(held) - 1)
    if ways > MOST_GROUPS:
        raise ValueError(f"{len(held)} rewards have {ways:,} counts in groups of {signal.group}: too many")
    others = counts_of(signal.group - 1, len(held))
    log_chance = gammaln(signal.group) - gammaln(others + 1).sum(axis=1) + others @ np.log(chances[held])
    chance = np.exp(log_chance)
    total, squares = others @ rewards[held], others @ rewards[held] ** 2
    mean = (total + rewards[:, None]) / signal.group
    away = rewards[:, None] - mean
    if signal.deviation:
        spread = squares + rewards[:, None] ** 2 - signal.group * mean**2
        away = away / (np.sqrt(np.maximum(spread, 0.0) / (signal.group - 1)) + SMALL)
    return away @ chance


@lru_cache(maxsize=8)
def counts_of(total: int, kinds: int) -> IntArray:
    """Every way to be so many of so many kinds, [N, kinds]."""
    edges = np.full((comb(total + kinds - 1, total), kinds + 1), -1)
    edges[:, 1:-1] = list(combinations(range(total + kinds - 1), kinds - 1))
    edges[:, -1] = total + kinds - 1
    return np.diff(edges, axis=1) - 1
