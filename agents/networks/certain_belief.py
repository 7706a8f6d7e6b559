"""A posterior over automata without luck: what was seen once is known, what was not is like its neighbours.

Of a deterministic automaton of Q states and V tokens is not known where token a leads from state q, and what
is paid. The prior shares between tokens, as a vocabulary would else be learnt word by word in each state:

    a token in q            does what one of the tokens does that are known in q, each as likely: leads where
                            that one leads, and pays what it pays; or, as likely as one of them, leads to q
                            itself and pays nothing
    E(q), of the end token  Normal of mean 0 and deviation ``prior``, by the state in which it is written
    H(q), of the horizon    the same, by the state that is reached; it is paid on top of the last step

The first is an urn (Blackwell and MacQueen 1973), but for unknown tokens of a draw, which are drawn apart.
What is known is so but for what noise leaves open. A state that was reached goes on, but where a text was
seen to end in it before the horizon. H is what last steps paid beyond what is believed of the steps
themselves: of such as were seen within a text, where there are any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.certain_steps import UNKNOWN, CertainSteps, FloatArray
from agents.networks.lanes import StateEpisodes
from klrl_envs import AutomatonTask

LARGEST_BELIEF = 1 << 24
"""States times states, of which shares are kept."""


@dataclass(frozen=True)
class CertainModel:
    """A deterministic automaton that may be, or the mean of such.

    Attributes:
        after: int64 [Q, V], where a token leads; Q is the end of the episode, -1 what is not known.
        steps: float64 [Q, V], what a token pays, of what is not known the mean.
        horizon: float64 [Q + 1], what the horizon pays on top in the state that is reached; the end's is 0.
        shares: float64 [Q, Q + 1], where what is not known leads; None where all is.
    """

    after: NDArray[np.int64]
    steps: FloatArray
    horizon: FloatArray
    shares: FloatArray | None = None

    def worth(self, values: FloatArray | None) -> FloatArray:
        """What tokens are worth in each state [Q, V].

        Args:
            values: [V, Q + 1], of what follows each token in each state; None in the last step.
        """
        if values is None:
            values = np.broadcast_to(self.horizon, (self.after.shape[1], len(self.horizon)))
        worth = self.steps + values[np.arange(self.after.shape[1]), self.after]
        if self.shares is None:
            return worth
        return np.where(self.after == UNKNOWN, self.steps + (values @ self.shares.T).T, worth)


class CertainBelief:
    """What is believed of a deterministic automaton.

    Args:
        task: an exact task, of which sizes, the end token and the noise are read.
        prior: standard deviation of a reward that is like no other, nats.
        noise: of a reward around its mean, nats, at least.

    Raises:
        ValueError: a task of too many states.
    """

    def __init__(self, task: AutomatonTask, *, prior: float, noise: float) -> None:
        states = task.automaton.states
        if states * states > LARGEST_BELIEF:
            raise ValueError(
                f"bayesian_policy needs an environment of few states: {states} times {states} are more than "
                f"{LARGEST_BELIEF}"
            )
        self._end_token = task.end_token
        self._prior_variance = (prior * task.kl_coef) ** 2
        self._noise_variance = max(noise * task.kl_coef, task.reward_noise) ** 2
        self._known = CertainSteps(task)

    @property
    def visits(self) -> NDArray[np.int64]:
        """How often a token was written [Q, V]."""
        return self._known.visits

    @property
    def after(self) -> NDArray[np.int64]:
        """Where tokens lead, as in ``CertainModel``."""
        return self._known.after

    def learn(self, written: StateEpisodes) -> None:
        """Take in what episodes show."""
        self._known.learn(written)

    def mean(self) -> CertainModel:
        """The posterior mean."""
        after, (seen, unpaid) = self.after, self._seen()
        shares = np.eye(len(seen), len(seen) + 1)
        np.add.at(shares, (seen.nonzero()[0], after[seen]), 1.0)
        shares /= 1 + seen.sum(axis=1, keepdims=True)
        return CertainModel(after, self._mean_steps(seen, unpaid), self._ends()[0], shares)

    def draw(self, rng: np.random.Generator) -> CertainModel:
        """A model drawn from the posterior, in which all is known."""
        after, steps = self.after, rng.normal(*self._steps())
        for state, (seen, unpaid) in enumerate(zip(*self._seen(), strict=True)):
            others = np.flatnonzero(seen)
            like = rng.integers(len(others) + 1, size=len(seen))
            leads = np.append(after[state, others], state)[like]
            after[state] = np.where(after[state] == UNKNOWN, leads, after[state])
            steps[state] = np.where(unpaid, np.append(steps[state, others], 0.0)[like], steps[state])
        return CertainModel(after, steps, rng.normal(*self._ends()))

    def _seen(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The tokens [Q, V] that others are like, and those of which nobody knows what they pay by
        themselves; what ends a text by itself is neither.
        """
        seen = self._known.alone()[0] > 0
        unpaid = ~seen
        if self._end_token is not None:
            seen[:, self._end_token] = unpaid[:, self._end_token] = False
        return seen, unpaid

    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation [Q, V] of what steps pay, each by itself."""
        return normal(self._prior_variance, self._noise_variance, *self._known.alone())

    def _mean_steps(self, seen: NDArray[np.bool_], unpaid: NDArray[np.bool_]) -> FloatArray:
        """The mean [Q, V] of what steps pay, by those that they are like."""
        steps = self._steps()[0]
        alike = np.where(seen, steps, 0.0).sum(axis=1, keepdims=True) / (1 + seen.sum(axis=1, keepdims=True))
        return np.where(unpaid, alike, steps)

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation [Q + 1] of what the horizon pays."""
        told = self._known.horizon(self._mean_steps(*self._seen()))
        mean, deviation = normal(self._prior_variance, self._noise_variance, *told)
        return np.append(mean, 0.0), np.append(deviation, 0.0)


def normal(
    variance: float, noise: float, counts: FloatArray, sums: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of Normals of mean 0, of so many observations with a variance ``noise``."""
    precision = 1 / variance + counts / noise
    return sums / noise / precision, precision**-0.5
