"""A posterior over automata without luck: what was seen once is known, what was not is like its neighbours.

Of a deterministic automaton of Q states and V tokens is not known where token a leads from state q, and what
is paid. The prior shares between tokens, as a vocabulary would else be learnt word by word in each state:

    where a leads from q    as one of the tokens whose successor of q is known, each as likely; or nowhere, to
                            q itself, which counts as one of them
    S(q, a), of a step      Normal of mean 0; its variance is that of the steps that are known, one of the
                            variance ``prior``^2 among them
    E(q), of the end token  Normal of mean 0 and variance ``prior``^2, by the state in which it is written
    H(q), of the horizon    the same, by the state that is reached

Shares and variance are found from what is seen (empirical Bayes, Robbins 1956). Given them the posterior is
exact, but that S of a last step is taken to be what is believed of it without that step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.networks.lanes import StateEpisodes
from klrl_envs import AutomatonTask

FloatArray = NDArray[np.float64]
UNKNOWN = -1


@dataclass(frozen=True)
class CertainModel:
    """A deterministic automaton that may be, or the mean of such.

    Attributes:
        after: int64 [Q, V], where a token leads; Q is the end of the episode, -1 what is not known.
        shares: float64 [Q, Q + 1], where what is not known leads.
        steps: float64 [Q, V], what a token pays.
        horizon: float64 [Q + 1], what the horizon pays on top in the state that is reached; the end's is 0.
    """

    after: NDArray[np.int64]
    shares: FloatArray
    steps: FloatArray
    horizon: FloatArray

    def worth(self, values: FloatArray | None) -> FloatArray:
        """What tokens are worth in each state [Q, V].

        Args:
            values: [V, Q + 1], of what follows each token in each state; None in the last step.
        """
        if values is None:
            following, mean = self.horizon[self.after], (self.shares @ self.horizon)[:, None]
        else:
            following = values[np.arange(self.after.shape[1]), self.after]
            mean = (values @ self.shares.T).T
        return self.steps + np.where(self.after == UNKNOWN, mean, following)


class CertainBelief:
    """What is believed of a deterministic automaton.

    Args:
        task: an exact task, of which sizes, the end token and the noise are read.
        prior: standard deviation of a reward before anything is seen, nats.
        noise: of a reward around its mean, nats, at least.

    Attributes:
        after: int64 [Q, V], as of ``CertainModel``.
        visits: float64 [Q, V], how often a token was written.
    """

    def __init__(self, task: AutomatonTask, *, prior: float, noise: float) -> None:
        states, tokens = task.automaton.states, task.vocab_size
        self._end_token, self._horizon = task.end_token, task.horizon
        self._prior_variance = (prior * task.kl_coef) ** 2
        self._noise_variance = max(noise * task.kl_coef, task.reward_noise) ** 2
        self.after = np.full((states, tokens), UNKNOWN)
        if self._end_token is not None:
            self.after[:, self._end_token] = states
        self.visits = np.zeros((states, tokens))
        self._goes_on = np.zeros(states, dtype=bool)
        self._counted, self._paid = np.zeros((2, states, tokens))
        self._ran_into, self._horizon_paid = np.zeros((2, states))

    def learn(self, written: StateEpisodes) -> None:
        """Take in what episodes show."""
        mask, states = written.mask, len(self.after)
        np.add.at(self.visits, (written.state[mask], written.actions[mask]), 1.0)
        self._goes_on[written.state[mask]] = True
        follows = np.zeros_like(mask)
        follows[:, :-1] = mask[:, 1:]
        full = mask.shape[1] == self._horizon
        last = np.zeros_like(mask)
        last[:, -1] = full & mask[:, -1]
        if self._end_token is not None:
            last &= written.actions != self._end_token
        # in the last step the episode ends anyhow; the horizon ended it where a state is known to go on
        ran = last & self._goes_on[written.after]
        told = (mask & ~last) | ran
        place = written.state[told], written.actions[told]
        self.after[place] = np.where(follows | ran, written.after, states)[told]
        if self._end_token is not None:
            self.after[:, self._end_token] = states
        step = mask & ~last
        place = written.state[step], written.actions[step]
        np.add.at(self._counted, place, 1.0)
        np.add.at(self._paid, place, written.rewards[step])
        means = self._steps()[0][written.state[ran], written.actions[ran]]
        np.add.at(self._ran_into, written.after[ran], 1.0)
        np.add.at(self._horizon_paid, written.after[ran], written.rewards[ran] - means)

    def mean(self) -> CertainModel:
        """The posterior mean."""
        return CertainModel(self.after, self._shares(), self._steps()[0], self._ends()[0])

    def draw(self, rng: np.random.Generator) -> CertainModel:
        """A model drawn from the posterior."""
        after, shares = self.after.copy(), self._shares()
        for state, row in enumerate(after):
            unknown = np.flatnonzero(row == UNKNOWN)
            row[unknown] = rng.choice(shares.shape[1], len(unknown), p=shares[state])
        steps, horizon = (rng.normal(*normal) for normal in (self._steps(), self._ends()))
        return CertainModel(after, shares, steps, horizon)

    def _shares(self) -> FloatArray:
        """Where tokens that are not known lead [Q, Q + 1]; what ends a text by itself is none of them."""
        states = len(self.after)
        known = self.after != UNKNOWN
        if self._end_token is not None:
            known[:, self._end_token] = False
        rows, _ = known.nonzero()
        pairs = rows * (states + 1) + self.after[known]
        counts = np.bincount(pairs, minlength=states * (states + 1)).reshape(states, states + 1).astype(float)
        counts[np.arange(states), np.arange(states)] += 1
        return counts / counts.sum(axis=1, keepdims=True)

    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation [Q, V] of what steps pay."""
        seen = self._counted > 0
        if self._end_token is not None:
            seen[:, self._end_token] = False
        found = (self._paid[seen] / self._counted[seen]) ** 2
        variance = np.full_like(self._paid, (self._prior_variance + found.sum()) / (1 + found.size))
        if self._end_token is not None:
            variance[:, self._end_token] = self._prior_variance
        return normal(variance, self._noise_variance, self._counted, self._paid)

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        """The same [Q + 1] of what the horizon pays."""
        mean, deviation = normal(
            self._prior_variance, self._noise_variance, self._ran_into, self._horizon_paid
        )
        return np.append(mean, 0.0), np.append(deviation, 0.0)


def normal(
    variance: FloatArray | float, noise: float, counts: FloatArray, sums: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of Normals of mean 0, of so many observations with a variance ``noise``."""
    precision = 1 / variance + counts / noise
    return sums / noise / precision, precision**-0.5
