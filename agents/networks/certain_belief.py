"""A posterior over automata without luck: what was seen once is known, what was not is like its neighbours.

Of a deterministic automaton of Q states and V tokens is not known where token a leads from state q, and what
is paid. The prior shares between tokens, as a vocabulary would else be learnt word by word in each state:

    a token in q            does what one of the tokens does that are known in q, each as likely: leads where
                            that one leads, and pays what it pays; or, as likely as one of them, leads to q
                            itself and pays nothing
    E(q), of the end token  Normal of mean 0 and deviation ``prior``, by the state in which it is written
    H(q), of the horizon    the same, by the state that is reached; it is paid on top of the last step

The first is an urn (Blackwell and MacQueen 1973), but for unknown tokens of a draw, which are drawn apart.
What is known is so but for what noise leaves open; of a last step, H is what is paid beyond what is believed
of the step itself.
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
        steps: float64 [Q, V], what a token pays, of what is not known the mean.
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
        prior: standard deviation of a reward that is like no other, nats.
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
        seen, unpaid = self._seen()
        steps, _ = self._steps()
        counts = 1 + seen.sum(axis=1, keepdims=True)
        paid = np.where(seen, steps, 0.0).sum(axis=1, keepdims=True) / counts
        shares = np.eye(len(seen), len(seen) + 1)
        np.add.at(shares, (seen.nonzero()[0], self.after[seen]), 1.0)
        return CertainModel(self.after, shares / counts, np.where(unpaid, paid, steps), self._ends()[0])

    def draw(self, rng: np.random.Generator) -> CertainModel:
        """A model drawn from the posterior, in which all is known."""
        after, steps = self.after.copy(), rng.normal(*self._steps())
        for state, (seen, unpaid) in enumerate(zip(*self._seen(), strict=True)):
            others = np.flatnonzero(seen)
            like = rng.integers(len(others) + 1, size=len(seen))
            leads = np.append(after[state, others], state)[like]
            after[state] = np.where(after[state] == UNKNOWN, leads, after[state])
            steps[state] = np.where(unpaid, np.append(steps[state, others], 0.0)[like], steps[state])
        nowhere = np.zeros((len(after), len(after) + 1))
        return CertainModel(after, nowhere, steps, rng.normal(*self._ends()))

    def _seen(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The tokens [Q, V] that others are like, and those of which nobody knows what they pay by
        themselves; what ends a text by itself is neither.
        """
        seen, unpaid = self._counted > 0, self._counted == 0
        if self._end_token is not None:
            seen[:, self._end_token] = unpaid[:, self._end_token] = False
        return seen, unpaid

    def _steps(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation [Q, V] of what steps pay, each by itself."""
        return normal(self._prior_variance, self._noise_variance, self._counted, self._paid)

    def _ends(self) -> tuple[FloatArray, FloatArray]:
        """The same [Q + 1] of what the horizon pays."""
        mean, deviation = normal(
            self._prior_variance, self._noise_variance, self._ran_into, self._horizon_paid
        )
        return np.append(mean, 0.0), np.append(deviation, 0.0)


def normal(
    variance: float, noise: float, counts: FloatArray, sums: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of Normals of mean 0, of so many observations with a variance ``noise``."""
    precision = 1 / variance + counts / noise
    return sums / noise / precision, precision**-0.5
