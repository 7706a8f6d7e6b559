"""Texts that pi0 begins and the policy ends: how states are learnt from that the policy has come to avoid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def begun_by_reference(
    count: int, share: float, horizon: int, rng: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Steps bool [N, T] that pi0 writes: of some episodes, 1 to T - 1 at the beginning; None for none.

    Args:
        count: N.
        share: of the N that are begun, in [0, 1], rounded to whole episodes.
        horizon: T.
        rng: draws which they are, and the lengths.

    Raises:
        ValueError: a share out of its range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"begun must be a share in [0, 1], got {share}")
    begun = round(share * count)
    if not begun or horizon < 2:
        return None
    lengths = np.zeros(count, dtype=np.int64)
    lengths[rng.choice(count, begun, replace=False)] = rng.integers(1, horizon, begun)
    return np.arange(horizon) < lengths[:, None]


def check_begun(share: float, train: str) -> None:
    """ValueError where a share of texts is to be begun, and what writes them is no head on pi0."""
    if share and train != "heads":
        raise ValueError(
            f"begun must be 0 with train {train}, got {share}: a language model that writes has no reference "
            "beside it"
        )
