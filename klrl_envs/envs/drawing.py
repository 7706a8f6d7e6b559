"""Texts of the reference, with their rewards: what certificates, rejection and cards draw."""

from __future__ import annotations

import numpy as np

from klrl_envs.envs.engine import Engine
from klrl_envs.reference.arrays import FloatArray, IntArray


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
    rewards, log_prob = np.zeros(engine.lanes), np.zeros(engine.lanes)
    while not engine.done.all():
        active = ~engine.done
        lanes = engine.reference_lanes
        tokens = lanes.draw(rng.random(engine.lanes))
        log_prob[active] += lanes.log_prob(tokens)[active]
        rewards += engine.step(tokens, active).reward
    return engine.written(), rewards, log_prob
