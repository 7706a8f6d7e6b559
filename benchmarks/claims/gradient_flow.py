"""The plain policy gradient's flow from pi0 on exact tasks, step by step and without sampling.

The natural gradient of free logits keeps to the tilted laws, which are the frontier. The plain gradient does
not: at each state it moves logits by how often the state is visited, so that what is rarely visited stays
where it was. Its way is traced in steps of one length, so that no learning rate enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.problem import Problem
from klrl_envs.reference.arrays import FloatArray

STEP = 0.1
"""Nats of log pi, root mean square over what the policy writes, that a step moves."""
SHORTEST = 0.005
"""Steps are halved where the objective falls, down to this; then the flow is at its end."""
AT_REST = 1e-9
"""A gradient so short, root mean square over what the policy writes, is rounding: the flow is at its end."""


@dataclass(frozen=True)
class Visited:
    """What one pass over the states says of a policy.

    Attributes:
        objective: E[r] - kl_coef KL.
        kl: KL(pi || pi0), nats.
        final_states: float64 [Q], the law of the automaton's state at the end.
        gradients: for each time the objective's gradient in free logits, [C, V, Q_t].
        occurs: for each time how often each token is written, [C, V, Q_t].
    """

    objective: float
    kl: float
    final_states: FloatArray
    gradients: list[FloatArray]
    occurs: list[FloatArray]


def visit(problem: Problem, log_weights: list[FloatArray], kl_coef: float) -> Visited:
    """The exact gradient of the objective at a policy pi0 w, by a backward and a forward pass.

    Args:
        problem: its reference a bigram or uniform, without stochastic execution or replies.
        log_weights: for each time log w = log pi - log pi0, [C, V, Q_t].
        kl_coef: beta, at least 0.
    """
    rows = problem.reference.rows(np.arange(problem.reference.contexts))[:, :, None]
    policies = [np.exp(rows + log_weight) for log_weight in log_weights]
    advantages: list[FloatArray] = []
    values: FloatArray | None = None
    for time in reversed(range(problem.horizon)):
        worth = problem.to_go(values, time)[None] - kl_coef * log_weights[time]
        mean = (policies[time] * worth).sum(axis=1, keepdims=True)
        advantages.append(worth - mean)
        values = mean[:, 0]
    assert values is not None
    objective, advantages = problem.at_start(values), advantages[::-1]
    context, state, chance = problem.starts
    mass = np.zeros((problem.reference.contexts, problem.reached[0].size))
    np.add.at(mass, (context, problem.places[0][state]), chance)
    occurs: list[FloatArray] = []
    final, kl = np.zeros(problem.automaton.states), 0.0
    for time, policy in enumerate(policies):
        occurs.append(mass[:, None] * policy)
        kl += float((occurs[-1] * log_weights[time]).sum())
        ended, mass = problem.advance(occurs[-1].sum(axis=0), time)
        final += ended
    final += mass.sum(axis=0)
    gradients = [often * advantage for often, advantage in zip(occurs, advantages, strict=True)]
    return Visited(objective, kl, final, gradients, occurs)


def free(problem: Problem) -> Callable[[list[FloatArray]], list[FloatArray]]:
    """A logit of its own for every token at every state: the gradient as it is."""
    del problem
    return lambda gradients: gradients


def shared(problem: Problem) -> Callable[[list[FloatArray]], list[FloatArray]]:
    """One logit for a token and an automaton's state, for all times and contexts: log pi0 + f(state)."""

    def summed(gradients: list[FloatArray]) -> list[FloatArray]:
        total = np.zeros((problem.automaton.vocab_size, problem.automaton.states))
        for states, gradient in zip(problem.reached, gradients, strict=True):
            total[:, states] += gradient.sum(axis=0)
        return [
            np.broadcast_to(total[None, :, states], gradient.shape)
            for states, gradient in zip(problem.reached, gradients, strict=True)
        ]

    return summed


def flow(
    problem: Problem,
    kl_coef: float,
    logits: Callable[[list[FloatArray]], list[FloatArray]],
    *,
    steps: int,
) -> list[Visited]:
    """The policies along the gradient flow of E[r] - kl_coef KL from pi0, pi0 first.

    Args:
        problem: as ``visit`` takes it.
        kl_coef: of the penalty, 0 for none.
        logits: turns the gradient of free logits into a step of those that there are, ``free`` or ``shared``.
        steps: at most.
    """
    rows = problem.reference.rows(np.arange(problem.reference.contexts))[:, :, None]
    shape = (len(rows), problem.automaton.vocab_size)
    log_weights = [np.zeros((*shape, states.size)) for states in problem.reached]
    way, length = [visit(problem, log_weights, kl_coef)], STEP
    for _ in range(steps):
        here = way[-1]
        direction = logits(here.gradients)
        centred = [
            step - (np.exp(rows + w) * step).sum(axis=1, keepdims=True)
            for step, w in zip(direction, log_weights)
        ]
        size = float(np.sqrt(sum((often * step**2).sum() for often, step in zip(here.occurs, centred))))
        if size < AT_REST:
            break
        while True:
            moved = [w + length / size * step for w, step in zip(log_weights, centred)]
            moved = [w - np.log(np.exp(rows + w).sum(axis=1, keepdims=True)) for w in moved]
            there = visit(problem, moved, kl_coef)
            if there.objective > here.objective or length < SHORTEST:
                break
            length /= 2
        if there.objective <= here.objective:
            break
        log_weights = moved
        way.append(there)
    return way
