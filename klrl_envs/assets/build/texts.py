"""What a reference writes after prompts, for the measurements of its card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.protocol import Reference


def written(
    reference: Reference, prompts: Sequence[Sequence[int]], horizon: int, rng: np.random.Generator | None
) -> list[list[int]]:
    """What pi0 writes after prompts, up to the end token (0) or the horizon; the likeliest token each time
    where there is no generator.
    """
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
    tokens = np.zeros((len(prompts), int(lengths.max())), dtype=np.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    lanes = reference.lanes(len(prompts), tokens.shape[1] + horizon)
    lanes.reset(np.arange(len(prompts)), tokens, lengths)
    columns: list[IntArray] = []
    active = np.ones(len(prompts), dtype=np.bool_)
    for _ in range(horizon):
        drawn = lanes.log_probs().argmax(axis=1) if rng is None else lanes.draw(rng.random(len(prompts)))
        columns.append(np.where(active, drawn, 0))
        active &= drawn != 0
        lanes.step(drawn, active)
    return [[int(token) for token in row if token] for row in np.stack(columns, axis=1)]
