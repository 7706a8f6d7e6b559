"""What a text would have been paid under a shorter horizon: one text tells of the end of many.

The automaton of an exact task knows no time. So the first s tokens of a text are as well a text that had
only s tokens left when it began, but for what the horizon pays. That is a number of the state that is
reached, and known once a text has run into the horizon in that state: such a text can be cut there. What the
last tokens are worth, of which each text shows one, is learnt so from all tokens of all texts.

A text is cut the rather where it has come to a state that is seldom reached, as most of what happens, happens
rarely. That changes no fixed point, as the next state follows from the token. Where luck has a part in it
none is cut: what a text went on to would tell of its luck.

Sources: values of every horizon from the same steps, De Asis et al. 2019 (arXiv 1909.03906); learning from
a text what it was not written for, Andrychowicz et al. 2017 (arXiv 1707.01495).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.networks.residual import at_times
from agents.networks.trajectories import Trajectories, last_steps
from klrl_envs import Task

OF_STEPS = ("rewards", "log_ratios", "log_probs", "kl", "base")
"""What is zero after the end."""


class Hindsight:
    """What the horizon was seen to pay in each state, and texts that are cut short by it.

    None is cut any more where a step before the last was seen to pay, or the horizon to pay differently in a
    state, as the reward of a last step would then be that of the step, too; none at all where luck has a part
    in the next state, the task writes itself, or the policy does not read the time beside the state.

    Args:
        task: what is played.
        share: of the texts that are cut where they can be, in [0, 1].

    Raises:
        ValueError: a share out of its range, or above 0 on a neural task.
    """

    def __init__(self, task: Task, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"cut must be a share in [0, 1], got {share}")
        if task.exact is None and share:
            raise ValueError(f"cut must be 0 on {task.id}, got {share}: it is for exact tasks alone")
        states = 0 if task.exact is None else task.exact.automaton.states
        self._share, self._horizon, self._end_token = share, task.horizon, task.end_token
        self._noisy = task.reward_noise > 0
        sure = task.exact is not None and task.exact.automaton.deterministic and task.replies is None
        self._cuts = share > 0 and sure
        self._reached, self._ended, self._paid = np.zeros((3, states))

    @property
    def cuts(self) -> bool:
        """Whether texts are cut where they can be, as far as is known."""
        return self._cuts

    def learn(self, trajectories: Trajectories) -> None:
        """Count the states that texts reached, and what the horizon paid them there."""
        mask, visited = trajectories.mask, trajectories.visited
        self._cuts &= visited is not None
        self._cuts &= not trajectories.rewards[mask & ~last_steps(mask)].any().item()
        if not self._cuts or visited is None:
            return
        np.add.at(self._reached, visited.reached[mask].cpu().numpy(), 1.0)
        if mask.shape[1] == self._horizon:
            whole = mask[:, -1]
            if self._end_token is not None:  # what that pays may be another thing
                whole = whole & (trajectories.actions[:, -1] != self._end_token)
            states = visited.reached[whole, -1].cpu().numpy()
            paid = trajectories.rewards[whole, -1].cpu().numpy()
            np.add.at(self._ended, states, 1.0)
            np.add.at(self._paid, states, paid)
            mean = self._paid[states] / self._ended[states]
            self._cuts &= self._noisy or bool(np.allclose(mean, paid, rtol=1e-4, atol=1e-6))

    def cut(self, trajectories: Trajectories, rng: np.random.Generator) -> Trajectories:
        """The same texts, some of which are cut behind a token that is drawn, and are so much later."""
        visited = trajectories.visited
        if not self._cuts or visited is None:
            return trajectories
        mask, reached = trajectories.mask, visited.reached.cpu().numpy()
        rows, last = self._places((mask & ~last_steps(mask)).cpu().numpy(), reached, rng)
        ends, later = np.full(len(reached), mask.shape[1]), np.zeros(len(reached), dtype=np.int64)
        ends[rows], later[rows] = last + 1, self._horizon - 1 - last
        steps = torch.arange(mask.shape[1], device=mask.device)
        kept = mask & (steps < torch.as_tensor(ends, device=mask.device)[:, None])
        values = {name: getattr(trajectories, name) * kept for name in OF_STEPS}
        states = reached[rows, last]
        paid = torch.as_tensor(self._paid[states] / self._ended[states], dtype=torch.float32)
        values["rewards"][rows, last] = paid.to(mask.device)
        times = torch.where(kept, steps + torch.as_tensor(later, device=mask.device)[:, None], 0)
        return replace(trajectories, mask=kept, visited=at_times(visited, times, self._horizon), **values)

    def _places(
        self, inside: NDArray[np.bool_], reached: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which texts [n] are cut, and behind which step [n], of the steps bool [N, T] that end no text."""
        known = inside & (self._ended[reached] > 0) & (rng.random((len(inside), 1)) < self._share)
        rows = np.flatnonzero(known.any(axis=1))
        # the largest of Gumbel variables above their logits is a draw from the softmax
        logits = rng.gumbel(size=known.shape) - np.log(self._reached[reached].clip(min=1.0))
        return rows, np.where(known, logits, -np.inf)[rows].argmax(axis=1)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"cuts": self._cuts, "reached": self._reached, "ended": self._ended, "paid": self._paid}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state back."""
        self._cuts = state["cuts"]
        self._reached, self._ended, self._paid = (state[name].copy() for name in ("reached", "ended", "paid"))
