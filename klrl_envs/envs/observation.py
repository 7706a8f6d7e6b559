"""What an environment shows of the engine: tokens, a small state vector, or float32 features."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from klrl_envs.envs.engine import Engine
from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.protocol import NeuralReference, neural
from klrl_envs.tasks.automaton_task import AutomatonTask, StateView
from klrl_envs.tasks.base import Task

EVERY = slice(None)


class Observer(Protocol):
    """A space and the observations [K, ...] of an engine's lanes [K] in it; of all lanes by default."""

    space: spaces.Box

    def observe(self, engine: Engine, lanes: IntArray | slice = EVERY) -> IntArray | NDArray[np.float32]: ...


class TokenObserver:
    """The padded tokens, int64 [L]."""

    def __init__(self, task: Task) -> None:
        self.space = spaces.Box(0, max(task.pad, task.vocab_size - 1), (task.max_length,), np.int64)

    def observe(self, engine: Engine, lanes: IntArray | slice = EVERY) -> IntArray:
        """Tokens [K, L], a copy."""
        return engine.tokens[lanes].copy() if isinstance(lanes, slice) else engine.tokens[lanes]


class StateObserver:
    """The automaton's state as a small integer vector, int64 [D]."""

    def __init__(self, view: StateView) -> None:
        self._table = view.table
        self.space = spaces.Box(np.zeros_like(view.high), view.high, dtype=np.int64)

    def observe(self, engine: Engine, lanes: IntArray | slice = EVERY) -> IntArray:
        """Rows of the table [K, D]."""
        return self._table[engine.state[lanes]]

    def encode(self, context: IntArray, state: IntArray, time: IntArray) -> IntArray:
        """Observations [N, D] of states [N] of an exact task, whatever context and time."""
        return self._table[state]


class AutomatonFeatures:
    """Exact tasks: state features [F], time left in [0, 1], and log pi0(.|s) [V], float32.

    The last row stands for the n-gram context, which is all that pi0 depends on: together they are
    Markov. Where the task names an initial policy, its row [V] follows.
    """

    def __init__(self, task: AutomatonTask) -> None:
        self._task = task  # not its tables: a copy of an environment remakes the task
        count = task.state_features.shape[1] + 1
        rows, least = 1, task.reference.least
        if task.initial_policy is not None:
            rows, least = 2, min(least, float(task.initial_policy.min()))
        floor = np.nextafter(np.float32(least), np.float32(-np.inf))
        low = np.zeros(count + rows * task.vocab_size, dtype=np.float32)
        high = np.zeros_like(low)
        high[:count] = 1
        low[count:] = floor
        self.space = spaces.Box(low, high, dtype=np.float32)

    def observe(self, engine: Engine, lanes: IntArray | slice = EVERY) -> NDArray[np.float32]:
        """Features [K, F + 1 + V], or [K, F + 1 + 2 V]."""
        return self.encode(engine.context[lanes], engine.state[lanes], engine.time[lanes])

    def encode(self, context: IntArray, state: IntArray, time: IntArray) -> NDArray[np.float32]:
        """The same of states [N] of reference and automaton, and tokens written [N]."""
        task, count = self._task, self._task.state_features.shape[1]
        features = np.empty((len(context), *self.space.shape), dtype=np.float32)
        features[:, :count] = task.state_features[state]
        features[:, count] = 1 - time / task.horizon
        task.reference.put_rows(context, features[:, count + 1 : count + 1 + task.vocab_size])
        if task.initial_policy is not None:
            features[:, -task.vocab_size :] = task.initial_policy[context]
        return features


class HiddenStateFeatures:
    """Neural tasks: the reference's final normalised hidden state [width] and the time left, float32."""

    def __init__(self, reference: NeuralReference) -> None:
        bound = np.float32(np.nextafter(np.float32(reference.hidden_bound * (1 + 1e-5)), np.float32(np.inf)))
        low = np.full(reference.width + 1, -bound, dtype=np.float32)
        high = -low
        low[-1], high[-1] = 0, 1
        self.space = spaces.Box(low, high, dtype=np.float32)

    def observe(self, engine: Engine, lanes: IntArray | slice = EVERY) -> NDArray[np.float32]:
        """Features [K, width + 1]."""
        left = 1 - engine.time[lanes, None] / engine.task.horizon
        return np.concatenate((engine.reference_lanes.hidden()[lanes], left), axis=1, dtype=np.float32)


def observer_of(task: Task, *, features: bool) -> Observer:
    """The observer of a task: of its features id, or of its plain id."""
    exact = task.exact
    if features:
        return HiddenStateFeatures(neural(task.reference)) if exact is None else AutomatonFeatures(exact)
    if exact is not None and exact.view is not None:
        return StateObserver(exact.view)
    return TokenObserver(task)
