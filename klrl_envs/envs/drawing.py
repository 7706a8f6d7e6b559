"""Texts of the reference, with their rewards: what certificates, rejection and cards draw."""

from __future__ import annotations

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.base import Task

RESTING = 0.3
"""The share of lanes whose texts have ended at which these are dropped: the others are copied then."""


def draw_reference(
    engine: Engine, prompts: int | IntArray, rng: np.random.Generator
) -> tuple[IntArray, FloatArray, FloatArray]:
    """An episode of the reference in every lane.

    Args:
        engine: seeded, with N lanes.
        prompts: int64[N], the prompt of each lane, or the one of all.
        rng: draws the tokens.

    Returns:
        What was written int64[N, T] padded, rewards float64[N], log pi0 float64[N] in nats.
    """
    if engine.task.exact is None:
        return _draw_texts(engine.task, np.broadcast_to(prompts, (engine.lanes,)), rng)
    every = np.arange(engine.lanes)
    engine.reset(every, prompts)
    rewards, log_prob = np.zeros(engine.lanes), np.zeros(engine.lanes)
    while not engine.done.all():
        active = ~engine.done
        lanes = engine.reference_lanes
        tokens = lanes.draw(rng.random(engine.lanes))
        log_prob[active] += lanes.log_prob(tokens)[active]
        rewards += engine.step(tokens, active).reward
    return engine.written(), rewards, log_prob


def _draw_texts(
    task: Task, prompts: IntArray, rng: np.random.Generator
) -> tuple[IntArray, FloatArray, FloatArray]:
    """The same where rewards are of whole texts: without an engine, as lanes need not wait for the longest.

    Every step draws a number for every text, ended or not, so that a text has its own numbers whichever
    lanes are dropped.
    """
    count, first = len(prompts), task.prompts.lengths[prompts]
    tokens = np.full((count, task.max_length), task.pad, dtype=np.int64)
    inside = np.arange(task.prompt_length) < first[:, None]
    tokens[:, : task.prompt_length] = np.where(inside, task.prompts.tokens[prompts], task.pad)
    lengths, log_prob = first.copy(), np.zeros(count)
    lanes = task.reference.lanes(count, task.max_length)
    lanes.reset(np.arange(count), tokens[:, : task.prompt_length], lengths)
    text, going = np.arange(count), np.ones(count, dtype=np.bool_)  # of the lanes
    for _ in range(task.horizon):
        drawn, open_texts = lanes.draw(rng.random(count)[text]), text[going]
        log_prob[open_texts] += lanes.log_prob(drawn)[going]
        tokens[open_texts, lengths[open_texts]] = drawn[going]
        lengths[open_texts] += 1
        if task.end_token is not None:
            going = going & (drawn != task.end_token)
        if not going.any():
            break
        lanes.step(drawn, going)
        if going.mean() <= 1 - RESTING:
            lanes.keep(np.flatnonzero(going))
            text, going = text[going], going[going]
    ledger.count(task.id, task.split, int((lengths - first).sum()), count)
    rewards, _ = task.score(tokens, lengths, counted=True)
    written = np.pad(tokens, ((0, 0), (0, task.horizon)), constant_values=task.pad)
    return np.take_along_axis(written, first[:, None] + np.arange(task.horizon), axis=1), rewards, log_prob
