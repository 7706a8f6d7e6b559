"""The policy of exact tasks of few states: a table of Q, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from klrl_envs.networks.network import Spec
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task, require_exact

LARGEST_TABLE = 1 << 26
FLOAT64 = "F64"


class Table:
    """pi(.|s) = pi0(.|s) exp((Q(s, .) - V(s)) / kl_coef), of one number for each state and token.

    At first the reference, or the task's initial policy. States are those of the wrapper ``StateIndex``:
    tokens written, automaton state, n-gram context.

    Args:
        task: an exact task.

    Attributes:
        values: float64 [S, V], Q of state index and token, in units of reward.
    """

    kind: ClassVar = "table"
    largest: ClassVar[Mapping[str, int]] = {}

    def __init__(self, task: Task) -> None:
        self.task: AutomatonTask = require_exact(task, "a table")
        self.kl_coef = task.kl_coef
        self.contexts = self.task.reference.contexts
        states = table_states(self.task)
        self.values: NDArray[np.float64] = np.zeros((states, task.vocab_size))
        if self.task.initial_policy is not None:
            # the context is the index's last digit
            change = self.task.initial_policy - self.task.reference.rows(np.arange(self.contexts))
            self.values += np.tile(self.kl_coef * change, (states // self.contexts, 1))

    def log_rows(self, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """log pi(.|s) [N, V] and V(s) [N] of state indices [N]."""
        logits = self.task.reference.rows(index % self.contexts) + self.values[index] / self.kl_coef
        top = logits.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return logits - total, self.kl_coef * total[:, 0]

    def state_log_probs(
        self, context: NDArray[np.int64], state: NDArray[np.int64], time: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """See ``klrl_envs.policies.StatePolicy``."""
        return self.log_rows(self.index(context, state, time))[0]

    def index(
        self, context: NDArray[np.int64], state: NDArray[np.int64], time: int | NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Of states [N], as the wrapper ``StateIndex`` counts them."""
        return (time * self.task.automaton.states + state) * self.contexts + context

    def sizes(self) -> dict[str, int]:
        """See ``Network``."""
        return {}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """See ``Network``."""
        return {"values": self.values}

    def for_evaluation(self, task: Task) -> tuple[Self, bool]:
        """See ``Network``."""
        return self, False

    @classmethod
    def demanded(cls, task: Task, sizes: Mapping[str, int]) -> dict[str, Spec]:
        """See ``Network``."""
        return {"values": (FLOAT64, (table_states(require_exact(task, "a table")), task.vocab_size))}

    @classmethod
    def filled(cls, task: Task, sizes: Mapping[str, int], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """See ``Network``."""
        table = cls(task)
        table.values = tensors["values"]
        return table


def table_states(task: AutomatonTask) -> int:
    """States of a table, S; ValueError where it would be too large."""
    states = (task.horizon + 1) * task.automaton.states * task.reference.contexts
    if states * task.vocab_size > LARGEST_TABLE:
        raise ValueError(
            f"a table of {states} states times {task.vocab_size} tokens is too large for {task.id} "
            f"(at most {LARGEST_TABLE} entries); it fits tasks of few states, as klrl/GridNavigation-v0"
        )
    return states
