"""The policy at which agents must start, where a task names one that is not the reference."""

from __future__ import annotations

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task


class InitialPolicy:
    """A policy that depends on the context of the reference alone, as ``klrl_envs.evaluate`` takes it.

    Args:
        task: an exact task.
        rows: log pi float64 [C, V], by context.
    """

    def __init__(self, task: AutomatonTask, rows: FloatArray) -> None:
        self._task = task
        self._rows = rows

    def state_log_probs(self, context: IntArray, state: IntArray, time: IntArray) -> FloatArray:
        """log pi(.|context) float64 [B, V], nats, of contexts [B]; automaton state and time play no part."""
        return self._rows[context]

    def log_probs(self, observations: IntArray) -> FloatArray:
        """log pi(.|text) float64 [B, V], nats, after padded tokens [B, L], prompt included."""
        context = self._task.reference.context_after(observations, self._task.lengths(observations))
        return self._rows[context]


def initial_policy_of(task: Task) -> InitialPolicy | None:
    """Where agents must start on a task; None where that is the reference."""
    exact = task.exact
    return (
        None if exact is None or exact.initial_policy is None else InitialPolicy(exact, exact.initial_policy)
    )
