"""The law, under the reference, of a reward paid at the end: it holds the frontier of every kl_coef."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.problem import Problem
from klrl_envs.reference.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class TerminalLaw:
    """The law under pi0 of a reward that is paid at the end, for each start (first state, or prompt).

    With lambda = 1 / kl_coef and L(lambda) = log E_0 exp(lambda r): J* = kl_coef L, E*[r] = L' and
    KL* = lambda L' - L, each a mean over the starts.

    Attributes:
        start: float64[S], probabilities of the S starts.
        rewards: float64[U], the distinct rewards, ascending.
        probabilities: float64[S, U], rows that sum to one.
    """

    start: FloatArray
    rewards: FloatArray
    probabilities: FloatArray

    @property
    def reference_value(self) -> float:
        """J(pi0) = E_0[r]."""
        return float(self.start @ self.probabilities @ self.rewards)

    def optimum(self, kl_coef: float) -> tuple[float, float, float]:
        """(J*, E*[r], KL* in nats) at kl_coef.

        Raises:
            ValueError: kl_coef is not a finite number above 0.
        """
        kl_coef = check_kl_coef(kl_coef)
        scaled = self.rewards / kl_coef
        with np.errstate(divide="ignore"):
            joint = np.log(self.probabilities) + scaled
        top = joint.max(axis=1)
        weights = np.exp(joint - top[:, None])
        total = weights.sum(axis=1)
        value = float(self.start @ (kl_coef * (top + np.log(total))))
        reward = float(self.start @ ((weights @ self.rewards) / total))
        return value, reward, max((reward - value) / kl_coef, 0.0)


@lru_cache(maxsize=4)
def terminal_law(problem: Problem) -> TerminalLaw:
    """The law of the terminal reward under pi0, by one forward pass that is free of kl_coef.

    The cost of a step is that of a backward step times the number of starts (first states, or prompts).

    Raises:
        ValueError: the automaton pays before the end, or its execution or replies are stochastic (then the
            optimum is not the tilted reference, and the law does not determine it).
    """
    automaton = problem.automaton
    if not automaton.terminal or not automaton.deterministic:
        kind = "stochastic execution or replies" if automaton.terminal else "rewards before the end"
        raise ValueError(f"the law of the final reward needs an automaton without {kind}")
    reference, states = problem.reference, automaton.states
    context, state, start = problem.starts
    row_of = np.arange(start.size)
    ended = np.zeros((start.size, states))
    mass = np.zeros((reference.contexts, start.size, problem.reached[0].size))
    mass[context, row_of, problem.places[0][state]] = 1.0
    for time in range(problem.horizon):
        joint = reference.push(np.reshape(mass, (reference.contexts, -1)))
        joint = np.reshape(joint, (len(joint), *mass.shape[1:]))
        settled = [problem.advance(joint[:, row], time) for row in row_of.tolist()]
        ended += np.stack([over for over, _ in settled])
        mass = np.stack([going_on for _, going_on in settled], axis=1)
    paid = np.concatenate([automaton.final_reward, automaton.horizon_reward])
    chance = np.concatenate([ended, mass.sum(axis=0)], axis=1)
    held = chance.any(axis=0)
    rewards, place = np.unique(paid[held], return_inverse=True)
    probabilities = np.zeros((start.size, rewards.size))
    for column, level in enumerate(np.flatnonzero(held)):
        probabilities[:, place[column]] += chance[:, level]
    return TerminalLaw(start, rewards, probabilities)


def has_law(problem: Problem) -> bool:
    """Whether one forward pass from one start gives the law of the reward, which determines the optimum."""
    automaton = problem.automaton
    single = problem.prompts is None and problem.starts[0].size == 1
    return automaton.terminal and automaton.deterministic and single
