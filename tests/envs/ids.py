"""The ids that the contract holds for, and what is played in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from klrl_envs.registry import REGISTRY, find_row, is_features_id

IDS = [env_id for row in REGISTRY for env_id in (row.gym_id, row.gym_features_id)]
PLAIN_IDS = [row.gym_id for row in REGISTRY]
NEURAL_TOLERANCE = 1e-4
LARGEST_FEATURE = 4  # of a hidden state: what an entry's rounding is measured by


def tolerance(env_id: str) -> float:
    """Exact environments agree to the last digit, a network's numbers to 1e-4 of the largest.

    On random texts attention may amplify float32's rounding tenfold, on some processors more than on others.
    """
    scale = LARGEST_FEATURE if is_features_id(env_id) else 1
    return scale * NEURAL_TOLERANCE if "neural" in find_row(env_id).tags else 0.0


def actions_for(task: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    """Random tokens, with the end token among them now and then."""
    actions = rng.integers(0, task.vocab_size, count)
    if task.end_token is not None:
        actions[rng.random(count) < 0.08] = task.end_token
    return actions
