"""Texts of pi*: by its rows where the optimum is solved, by rejection from pi0 where it is certified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.rollout import row_source
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.policies import OptimalPolicy
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.tasks.base import Task

MOST = 100_000_000
"""Texts of pi0 after which rejection gives up."""
PATIENCE = 512
"""Texts of pi0 behind a prompt after which rejection takes the highest reward that it saw for the bound."""


@ledger.counting_as("evaluation")
def draw_optimal(
    task: Task,
    prompts: IntArray,
    rng: np.random.Generator,
    *,
    progress: Callable[[int], object] | None = None,
) -> IntArray:
    """A text of pi* after each of the prompts [N], by their numbers: tokens int64 [N, T], padded.

    Whoever is given them has seen no reward: they count in no budget. On a neural task each takes as many
    texts of pi0 as pi* is rare among them, hundreds or thousands; behind a prompt where the first
    ``PATIENCE`` hold none, it is drawn under the highest reward that was seen (``RejectionSampler``).

    Args:
        task: its own prompts are meant.
        prompts: int64 [N].
        rng: draws.
        progress: told from time to time how many more of the N are there, or fewer; all at once where pi*
            is known by its rows.

    Raises:
        ValueError: a task that is random beside its tokens, which alone are no episode there, or a neural
            one that pays a noisy reward.
        RuntimeError: texts of pi* are too rare for rejection.
    """
    if task.random_beside_tokens:
        raise ValueError(f"{task.id} is random beside its tokens: texts of its pi* cannot be told by tokens")
    if task.exact is None:
        unknown = np.zeros(len(task.prompts.tokens))  # of log Z, which only log-probs need
        sampler = RejectionSampler(task, unknown, patience=PATIENCE, most=MOST)
        return sampler.sample(task.padded_prompts[prompts], rng, progress=progress)[0]
    best = optimum_of(task)
    assert best.policy is not None
    engine = Engine(task, len(prompts))
    engine.seed_lanes(rng)
    engine.reset(np.arange(len(prompts)), prompts)
    texts, _ = play_optimal(OptimalPolicy(best.policy), engine, rng)
    if progress is not None:
        progress(len(prompts))
    return texts


def play_optimal(
    policy: OptimalPolicy | RejectionSampler, engine: Engine, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Play pi* in an engine's lanes [N], which stand where their episodes begin.

    Returns:
        The tokens that it writes, int64 [N, T], padded; the rewards of the episodes, float64 [N].
    """
    task, count = engine.task, engine.lanes
    written = np.full((count, task.horizon), task.pad, dtype=np.int64)
    rewards = np.zeros(count)
    rows = None
    if isinstance(policy, RejectionSampler):
        written, _ = policy.sample(engine.tokens[:, : task.prompt_length], rng)
    else:
        rows = row_source(policy, engine, features=False)
    for step in range(task.horizon):
        lanes = np.flatnonzero(~engine.done)
        if not len(lanes):
            break
        if rows is not None:
            written[lanes, step] = sample_rows(np.asarray(rows(lanes, None)), rng)
        tokens = np.zeros(count, dtype=np.int64)
        tokens[lanes] = written[lanes, step]
        rewards += engine.step(tokens, ~engine.done).reward
    return written, rewards
