"""Probes: policies that should not do well on a task, valued exactly.

A task tests something where a policy that knows nothing of it (uniform, one token for ever, an instant end)
scores low, and where a deterministic maximiser of the reward, blind to KL, stays well below 1. Use them on a
task of your own before you trust it.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.result import Optimum
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.automaton_task import AutomatonTask

TIE = 1e-9
"""Rewards to go that differ by less, in units of the largest, count as equal to the maximiser."""


def probe_scores(task: AutomatonTask) -> dict[str, float]:
    """Exact scores of the probes: uniform, repeat (the best single token repeated), end, maximiser.

    "end" is there where the task has an end token. The maximiser takes at each step a token from which the
    largest reward can still be had, and among those pi*'s likeliest.

    Raises:
        ValueError: execution is stochastic, or J* = J(pi0), so that nothing has a score.
    """
    best = optimum_of(task)
    assert best.policy is not None
    problem, gap = best.policy.problem, best.gap
    if task.automaton.execution is not None or gap is None:
        raise ValueError(
            f"{task.id} is stochastic beside its tokens, or pi0 is optimal: no probe has a score"
        )
    repeat = repeat_objectives(task)
    objectives = {"uniform": uniform_objective(task, problem), "repeat": float(repeat.max())}
    if task.end_token is not None:
        objectives["end"] = float(repeat[task.end_token])
    objectives["maximiser"] = maximiser_objective(task, best)
    return {name: (value - best.reference_value) / gap for name, value in objectives.items()}


def uniform_objective(task: AutomatonTask, problem: Problem) -> float:
    """J of the policy that takes every token alike, by a backward pass."""
    rows, size = task.reference.rows(np.arange(task.reference.contexts)), task.vocab_size
    own = -task.kl_coef * (-np.log(size) - rows.mean(axis=1))
    if task.automaton.context_reward is not None:
        own = own + task.automaton.context_reward.mean(axis=1)
    values: FloatArray | None = None
    for time in reversed(range(task.horizon)):
        values = problem.to_go(values, time).mean(axis=0) + own[:, None]
    assert values is not None
    return problem.at_start(values)


def repeat_objectives(task: AutomatonTask) -> FloatArray:
    """float64[V], J of the policies that write one token for ever."""

    def constant(token: int) -> float:
        return task.deterministic_objective(lambda context, state, time: np.full_like(context, token))

    return np.array([constant(token) for token in range(task.vocab_size)])


def maximiser_objective(task: AutomatonTask, best: Optimum) -> float:
    """J of a deterministic policy that earns the largest reward there is, whatever its KL."""
    assert best.policy is not None
    problem, policy = best.policy.problem, best.policy
    extra = task.automaton.context_reward
    to_go: list[FloatArray] = []
    values: FloatArray | None = None
    for time in reversed(range(task.horizon)):
        to_go.append(problem.to_go(values, time))
        if extra is None:  # the same in every context
            best_there = to_go[-1].max(axis=0)
            values = np.broadcast_to(best_there, (task.reference.contexts, best_there.size))
        else:
            columns = [np.max(extra + column, axis=1) for column in np.transpose(to_go[-1])]
            values = np.stack(columns, axis=1)
    to_go.reverse()
    slack = TIE * max(1.0, float(np.abs(to_go[0]).max()))

    def choose(context: IntArray, state: IntArray, time: int) -> IntArray:
        worth = np.transpose(to_go[time][:, problem.places[time][state]])
        if extra is not None:
            worth = worth + extra[context]
        good = worth >= np.max(worth, axis=1, keepdims=True) - slack
        rows = policy.log_probs(context, state, np.full_like(state, time))
        return np.where(good, rows, -np.inf).argmax(axis=1)

    return task.deterministic_objective(choose)
