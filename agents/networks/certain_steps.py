"""What texts showed of an automaton without luck: where a token led from a state is where it leads.

What a step paid is known apart from what the horizon pays once it was seen within a text, or in a state that
ends it; a last step shows the sum of the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.networks.lanes import StateEpisodes
from klrl_envs import AutomatonTask

FloatArray = NDArray[np.float64]
UNKNOWN = -1


class CertainSteps:
    """The steps that were seen, of Q states and V tokens.

    Args:
        task: an exact task without luck, of which sizes, the end token and the horizon are read.

    Attributes:
        visits: int64 [Q, V], how often a token was written.
        last, last_paid: float64 [Q, V], how often it was the last before the horizon, and what it paid then.
    """

    def __init__(self, task: AutomatonTask) -> None:
        shape = task.automaton.states, task.vocab_size
        self._end_token, self._horizon = task.end_token, task.horizon
        self.visits = np.zeros(shape, dtype=np.int64)
        self._leads = np.full(shape, UNKNOWN)
        self._over = np.zeros(shape[0], dtype=bool)
        self._within, self._within_paid, self.last, self.last_paid = np.zeros((4, *shape))

    @property
    def after(self) -> NDArray[np.int64]:
        """Where tokens lead [Q, V]: to a state, to the end of the episode Q, or to ``UNKNOWN``."""
        known = self._leads != UNKNOWN
        after = np.where(known & self._over[self._leads], len(self._over), self._leads)
        if self._end_token is not None:
            after[:, self._end_token] = len(self._over)
        return after

    def learn(self, written: StateEpisodes) -> None:
        """Take in what episodes show."""
        mask = written.mask
        by_itself = np.zeros_like(mask) if self._end_token is None else written.actions == self._end_token
        last = mask & ~by_itself & (np.arange(mask.shape[1]) == self._horizon - 1)
        goes_on = np.pad(mask[:, 1:], ((0, 0), (0, 1)))
        np.add.at(self.visits, (written.state[mask], written.actions[mask]), 1)
        led = mask & ~by_itself
        self._leads[written.state[led], written.actions[led]] = written.after[led]
        self._over[written.after[led & ~last & ~goes_on]] = True
        for counts, sums, steps in (
            (self._within, self._within_paid, mask & ~last),
            (self.last, self.last_paid, last),
        ):
            place = written.state[steps], written.actions[steps]
            np.add.at(counts, place, 1.0)
            np.add.at(sums, place, written.rewards[steps])

    def alone(self) -> tuple[FloatArray, FloatArray]:
        """How often steps were seen by themselves [Q, V], and what they paid in all: within a text, or where
        they ended it.
        """
        ended = (self._leads != UNKNOWN) & self._over[self._leads]
        return self._within + ended * self.last, self._within_paid + ended * self.last_paid

    def horizon(self, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How often the horizon was seen to pay in each state [Q], and what it paid in all.

        It is what last steps paid beyond what steps pay: of such as were seen alone, where there are any.

        Args:
            steps: [Q, V], what steps are believed to pay.
        """
        states = len(self._over)
        known = self.alone()[0] > 0
        ran = (self.last > 0) & ~self._over[self._leads]
        sure = np.bincount(self._leads[ran & known], minlength=states) > 0
        told = ran & (known | ~sure[self._leads])
        beyond = self.last_paid - self.last * steps
        counts, sums = (
            np.bincount(self._leads[told], weights[told], states).astype(np.float64)
            for weights in (self.last, beyond)
        )
        return counts, sums
