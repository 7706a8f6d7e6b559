"""The policy at which agents must start, where a task names one that is not the reference."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.protocol import IntArray
from klrl_envs.tasks.base import AutomatonTask, Task

Rows = NDArray[np.float64]


class InitialPolicy:
    """A policy that depends on the context of the reference alone, as ``klrl_envs.evaluate`` takes it.

    Args:
        task: an exact task with an ``initial_policy``.
    """

    def __init__(self, task: AutomatonTask) -> None:
        assert task.initial_policy is not None
        self._task = task

    def state_log_probs(self, context: IntArray, state: IntArray, time: IntArray) -> Rows:
        """log pi(.|context) float64 [B, V], nats, of contexts [B]; automaton state and time play no part."""
        return cast(Rows, self._task.initial_policy)[context]

    def log_probs(self, observations: IntArray) -> Rows:
        """log pi(.|text) float64 [B, V], nats, after padded tokens [B, L], prompt included."""
        context = self._task.reference.context_after(observations, self._task.lengths(observations))
        return cast(Rows, self._task.initial_policy)[context]


def initial_policy_of(task: Task) -> InitialPolicy | None:
    """Where agents must start on a task; None where that is the reference."""
    named = isinstance(task, AutomatonTask) and task.initial_policy is not None
    return InitialPolicy(cast(AutomatonTask, task)) if named else None
