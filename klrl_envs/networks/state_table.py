"""The policy of exact tasks of few automaton states: a table of Q by time, state and token, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from klrl_envs.networks.network import Spec
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task, require_exact

LARGEST_STATE_TABLE = 1 << 25
FLOAT32 = "F32"


class StateTable:
    """pi(.|s) = pi0(.|s) exp((Q(time, automaton state, .) - V(s)) / kl_coef).

    The n-gram context matters through pi0 alone, as it does to the optimum of every task that pays by state
    and token: so a long vocabulary fits, where a ``Table`` has each context apart. At first the reference.

    Args:
        task: an exact task; an initial policy is not looked at.

    Attributes:
        values: float32 [T, Q, V], in units of reward.
    """

    kind: ClassVar = "state-table"
    largest: ClassVar[Mapping[str, int]] = {}

    def __init__(self, task: Task) -> None:
        self.task: AutomatonTask = require_exact(task, "a table of states")
        self.values: NDArray[np.float32] = np.zeros(table_shape(self.task), dtype=np.float32)

    def state_log_probs(
        self, context: NDArray[np.int64], state: NDArray[np.int64], time: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """See ``klrl_envs.policies.StatePolicy``."""
        nats = self.values[time, state].astype(np.float64) / self.task.kl_coef
        logits = self.task.reference.rows(context) + nats
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def sizes(self) -> dict[str, int]:
        """See ``Network``."""
        return {}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """See ``Network``."""
        return {"values": self.values}

    def for_evaluation(self, task: Task) -> tuple[Self, bool]:
        """See ``Network``; ValueError where the task's states are others, as those of other prompts are."""
        other = require_exact(task, "a table of states").automaton.fingerprint
        if other != self.task.automaton.fingerprint:
            raise ValueError(
                f"a table of states knows nothing of other states, and {task.id} has others for its "
                "evaluation prompts"
            )
        return self, False

    @classmethod
    def demanded(cls, task: Task, sizes: Mapping[str, int]) -> dict[str, Spec]:
        """See ``Network``."""
        return {"values": (FLOAT32, table_shape(require_exact(task, "a table of states")))}

    @classmethod
    def filled(cls, task: Task, sizes: Mapping[str, int], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """See ``Network``."""
        table = cls(task)
        table.values = tensors["values"]
        return table


def table_shape(task: AutomatonTask) -> tuple[int, int, int]:
    """T, Q and V; ValueError where a table would be too large."""
    shape = task.horizon, task.automaton.states, task.vocab_size
    if np.prod(shape) > LARGEST_STATE_TABLE:
        raise ValueError(
            f"a table of {shape[0]} times, {shape[1]} states and {shape[2]} tokens is too large for "
            f"{task.id} (at most {LARGEST_STATE_TABLE} entries)"
        )
    return shape
