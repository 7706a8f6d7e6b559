"""Episodes in the lanes of an engine, for tests that look at what was written and paid."""

from __future__ import annotations

from typing import Any

import numpy as np

from klrl_envs.envs.engine import Engine
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.reference.sampling import sample_rows


def play(task: Any, lanes: int, seed: int, *, reference_in_between: bool = False) -> tuple[Engine, Any]:
    """An episode of pi* in each lane, of the prompts in turn; the finished engine, and rewards float64[N].

    Every other row is the reference's where asked for.
    """
    policy = optimum_of(task).policy
    assert policy is not None
    engine = Engine(task, lanes)
    engine.seed_lanes([np.random.default_rng(lane) for lane in range(lanes)])
    engine.reset(np.arange(lanes), np.arange(lanes) % len(task.prompts.tokens))
    rng, paid = np.random.default_rng(seed), np.zeros(lanes)
    while not engine.done.all():
        active = ~engine.done
        rows = policy.log_probs(engine.context[active], engine.state[active], engine.time[active])
        if reference_in_between:
            other = engine.reference_log_probs()[active]
            rows = np.where(np.arange(active.sum())[:, None] % 2, rows, other)
        tokens = np.zeros(lanes, dtype=np.int64)
        tokens[active] = sample_rows(rows, rng)
        paid += engine.step(tokens, active).reward
    return engine, paid
