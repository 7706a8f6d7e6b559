"""Texts of the reference, with their rewards: what certificates, rejection and cards draw."""

from __future__ import annotations

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.reference.arrays import FloatArray, IntArray

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
    every = np.arange(engine.lanes)
    engine.reset(every, prompts)
    if engine.task.exact is None:
        rewards, log_prob = _draw_texts(engine, rng)
        return engine.written(), rewards, log_prob
    rewards, log_prob = np.zeros(engine.lanes), np.zeros(engine.lanes)
    while not engine.done.all():
        active = ~engine.done
        lanes = engine.reference_lanes
        tokens = lanes.draw(rng.random(engine.lanes))
        log_prob[active] += lanes.log_prob(tokens)[active]
        rewards += engine.step(tokens, active).reward
    return engine.written(), rewards, log_prob


def _draw_texts(engine: Engine, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Rewards and log pi0 of texts, where rewards are of whole ones: written into the engine, whose lanes are
    at their prompts, without its steps, as lanes need not wait for the longest.

    Every step draws a number for every text, ended or not, so that a text has its own numbers whichever
    lanes are dropped.
    """
    task, count, tokens, lengths = engine.task, engine.lanes, engine.tokens, engine.length
    log_prob = np.zeros(count)
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
    engine.time[:] = lengths - engine.prompt_lengths()
    engine.done[:] = True
    engine.taken += int(engine.time.sum())
    ledger.count(task.id, task.split, int(engine.time.sum()), count)
    return task.score(tokens, lengths, counted=True)[0], log_prob
