"""Episodes of an exact task as arrays [N, T] of its states: what tabular agents write and learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs import Engine, sample_rows
from klrl_envs.wrappers import Episode

Behaviour = Callable[[NDArray[np.int64], NDArray[np.int64], int], NDArray[np.float64]]
"""(context [N], state [N], tokens written) -> log mu [N, V], nats."""


@dataclass(frozen=True)
class StateEpisodes:
    """N finished episodes of at most T steps; what follows an episode's end means nothing.

    Attributes:
        context: int64 [N, T], of the reference before each step.
        state: int64 [N, T], of the automaton before each step.
        after: int64 [N, T], of the automaton after it, and after what the task may have written.
        actions: int64 [N, T].
        rewards: float64 [N, T], of the task alone, zero after the end.
        log_ratios: float64 [N, T], log mu - log pi0 of the tokens taken, nats, zero after the end.
        log_probs: float64 [N, T], log mu of the tokens taken, nats, zero after the end.
        mask: bool [N, T], the steps that were taken.
        texts: of the episodes.
    """

    context: NDArray[np.int64]
    state: NDArray[np.int64]
    after: NDArray[np.int64]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    log_ratios: NDArray[np.float64]
    log_probs: NDArray[np.float64]
    mask: NDArray[np.bool_]
    texts: list[str]

    @property
    def steps(self) -> int:
        """Tokens written, the end tokens among them."""
        return int(self.mask.sum())

    def episodes(self, tokens: int, kl_coef: float) -> list[Episode]:
        """The episodes as they go on record; ``tokens`` were written in training, these among them."""
        rewards, lengths = self.rewards.sum(axis=1).tolist(), self.mask.sum(axis=1).tolist()
        nats, log_probs = self.log_ratios.sum(axis=1).tolist(), self.log_probs.sum(axis=1).tolist()
        return [
            Episode(
                episode=place,
                tokens=tokens,
                text=text,
                task_reward=rewards[place],
                paid=rewards[place] - kl_coef * nats[place],
                length=lengths[place],
                k1=nats[place],
                log_prob=log_probs[place],
                lane=place,
            )
            for place, text in enumerate(self.texts)
        ]


def write_episodes(engine: Engine, behaviour: Behaviour, rng: np.random.Generator) -> StateEpisodes:
    """An episode in every lane of an engine, all begun together, from prompts that the lanes draw."""
    every = np.arange(engine.lanes)
    engine.reset(every)
    columns: list[tuple[NDArray[Any], ...]] = []
    texts = [""] * engine.lanes
    for time in range(engine.task.horizon):
        active = ~engine.done
        if not active.any():
            break
        context, state = engine.context.copy(), engine.state.copy()
        rows = behaviour(context, state, time)
        actions = sample_rows(rows, rng)
        log_prob = np.where(active, rows[every, actions], 0.0)
        log_ratio = (rows - engine.reference_log_probs())[every, actions]
        result = engine.step(actions, active)
        for lane, text in zip(result.finished.tolist(), result.metrics.get("text", ()), strict=True):
            texts[lane] = str(text)
        nats = np.where(active, log_ratio, 0.0)
        columns.append((context, state, engine.state.copy(), actions, result.reward, nats, log_prob, active))
    stacked: list[Any] = [np.stack(column, axis=1) for column in zip(*columns)]
    return StateEpisodes(*stacked, texts=texts)
