"""How a tabular agent tries what its policy pi would not do: rows of its behaviour mu.

    reference    (1 - e) pi + e pi0              epsilon-greedy, where greedy is pi and random is pi0
    uniform      (1 - e) pi + e / V              the same with any token
    boltzmann    pi0 (pi / pi0)^(1 - e) / Z      pi at the higher price of KL kl_coef / (1 - e)
    ucb          pi exp(e b) / Z                 b = sqrt(log(1 + N(s)) / (1 + N(s, a))): each Q gets the
                                                 bonus kl_coef e b, in nats, until its token is known

Each has a strength e: for the first three a share, 0 to 1, for the last a number of nats, 0 or more; 0 leaves
pi. All are pure functions of rows log pi and log pi0 [N, V] in nats and of the visits N(s, a) [N, V] of the
states. mu is what is drawn from and what pays KL on record; which value is learnt from it is the agent's.

Sources: Sutton and Barto 2018, chapter 2; Auer, Cesa-Bianchi and Fischer 2002 (UCB1), whose bonus stands here
within a soft maximum. Boltzmann exploration and its pitfalls: arXiv 1705.10257.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Explore = Callable[[Rows, Rows, NDArray[Any], float], Rows]
"""(log pi, log pi0, visits, strength) -> log mu, all [N, V]."""


def reference(rows: Rows, beside: Rows, visits: NDArray[Any], strength: float) -> Rows:
    """A share of pi0."""
    return mixture(rows, beside, strength)


def uniform(rows: Rows, beside: Rows, visits: NDArray[Any], strength: float) -> Rows:
    """A share of any token."""
    return mixture(rows, np.full_like(rows, -np.log(rows.shape[1])), strength)


def boltzmann(rows: Rows, beside: Rows, visits: NDArray[Any], strength: float) -> Rows:
    """A share of the way back to pi0, in logits."""
    return normalised(beside + (1 - strength) * (rows - beside))


def ucb(rows: Rows, beside: Rows, visits: NDArray[Any], strength: float) -> Rows:
    """A bonus for what was seldom tried."""
    seen = visits.sum(axis=1, keepdims=True)
    return normalised(rows + strength * np.sqrt(np.log1p(seen) / (1 + visits)))


EXPLORE: Mapping[str, Explore] = {
    "reference": reference,
    "uniform": uniform,
    "boltzmann": boltzmann,
    "ucb": ucb,
}


def exploring(name: str) -> Explore:
    """The function of a name.

    Raises:
        ValueError: no such name.
    """
    if name not in EXPLORE:
        raise ValueError(f"explore must be one of {', '.join(EXPLORE)}, got {name!r}")
    return EXPLORE[name]


def strength_at(progress: float, first: float, last: float) -> float:
    """The strength at a share of the training, 0 to 1, on a straight line."""
    return first + (last - first) * progress


def mixture(rows: Rows, beside: Rows, share: float) -> Rows:
    """log[(1 - share) exp(rows) + share exp(beside)] [N, V]."""
    if share <= 0:
        return rows
    if share >= 1:
        return beside
    rows, beside = rows + np.log1p(-share), beside + np.log(share)
    # np.logaddexp takes twice as long
    return np.maximum(rows, beside) + np.log(1 + np.exp(-np.abs(rows - beside)))


def normalised(logits: Rows) -> Rows:
    """Log-softmax of rows [N, V]."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
