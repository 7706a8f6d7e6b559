"""Texts of pi*: by its rows where the optimum is solved, by rejection from pi0 where it is certified."""

from __future__ import annotations

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.rollout import row_source
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.policies import OptimalPolicy
from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.tasks.base import Task

MOST = 100_000_000
"""Texts of pi0 after which rejection gives up."""


@ledger.counting_as("evaluation")
def draw_optimal(task: Task, prompts: IntArray, rng: np.random.Generator) -> IntArray:
    """A text of pi* after each of the prompts [N], by their numbers: tokens int64 [N, T], padded.

    Whoever is given them has seen no reward: they count in no budget. On a neural task each takes as many
    texts of pi0 as pi* is rare among them, hundreds or thousands.

    Args:
        task: its own prompts are meant.
        prompts: int64 [N].
        rng: draws.

    Raises:
        ValueError: a neural task that is random beside its tokens, or pays a noisy reward.
        RuntimeError: texts of pi* are too rare for rejection.
    """
    if task.exact is None:
        unknown = np.zeros(len(task.prompts.tokens))  # of log Z, which only log-probs need
        sampler = RejectionSampler(task, unknown, most=MOST)
        return sampler.sample(task.padded_prompts[prompts], rng)[0]
    best = optimum_of(task)
    assert best.policy is not None
    engine = Engine(task, len(prompts))
    engine.seed_lanes(rng)
    engine.reset(np.arange(len(prompts)), prompts)
    rows = row_source(OptimalPolicy(best.policy), engine, features=False)
    written = np.full((len(prompts), task.horizon), task.pad, dtype=np.int64)
    for step in range(task.horizon):
        lanes = np.flatnonzero(~engine.done)
        if not len(lanes):
            break
        tokens = np.zeros(len(prompts), dtype=np.int64)
        tokens[lanes] = sample_rows(np.asarray(rows(lanes, None)), rng)
        written[lanes, step] = tokens[lanes]
        engine.step(tokens, ~engine.done)
    return written
