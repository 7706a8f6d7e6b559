"""The law of an environment's reward under pi0 and under pi*, as bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from klrl_envs.evaluation.shown_texts import optimal_texts, reference_texts
from klrl_envs.optima.certificate import Certificate
from klrl_envs.optima.result import Optimum
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.tasks.base import Task

BARS = 24
"""The most; rewards of more values are counted between equally spaced edges."""
STARTS = 16
"""The most starts of which a law is computed: each costs as much as an optimum."""
TEXTS = 4096
"""Drawn of each policy where no law can be computed."""
SEED = 0


@dataclass(frozen=True)
class RewardLaw:
    """The law of the reward.

    Attributes:
        method: "computed", "certified" (from the samples of the certificate) or "sampled".
        rewards: float64[N], the values of the reward.
        reference, optimal: float64[N], their probabilities under pi0 and under pi*, which sum to one.
    """

    method: str
    rewards: FloatArray
    reference: FloatArray
    optimal: FloatArray

    def binned(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(rewards, probabilities under pi0, under pi*) of ``BARS`` bars at most, each at its middle."""
        seen = (self.reference > 0) | (self.optimal > 0)
        rewards, weights = self.rewards[seen], (self.reference[seen], self.optimal[seen])
        values, place = np.unique(rewards, return_inverse=True)
        if len(values) > BARS:
            edges = np.linspace(values[0], values[-1], BARS + 1)
            place = np.clip(np.searchsorted(edges, rewards, side="right") - 1, 0, BARS - 1)
            values = (edges[1:] + edges[:-1]) / 2
        under = np.zeros((2, len(values)))
        for row, each in zip(under, weights):
            np.add.at(row, place, each)
        return values, under[0], under[1]


def law_of(task: Task, best: Optimum) -> RewardLaw:
    """The law of a task's reward: as exact as it is to be had, else of texts that are drawn."""
    if best.certificate is not None:
        return certified_law(best.certificate, best.kl_coef)
    assert best.policy is not None
    problem = best.policy.problem
    plain = problem.automaton.terminal and problem.automaton.deterministic
    if plain and problem.starts[0].size <= STARTS:
        return computed_law(terminal_law(problem), best.kl_coef)
    prompts = np.arange(TEXTS) % len(task.prompts.tokens)
    drawn = (reference_texts(task, prompts, SEED), optimal_texts(task, best, prompts, SEED))
    of_reference, of_optimum = (np.array([text.reward for text in texts]) for texts in drawn)
    share, none = np.full(TEXTS, 1 / TEXTS), np.zeros(TEXTS)
    return RewardLaw(
        "sampled",
        np.concatenate([of_reference, of_optimum]),
        np.concatenate([share, none]),
        np.concatenate([none, share]),
    )


def computed_law(law: TerminalLaw, kl_coef: float) -> RewardLaw:
    """The law under pi0, start by start, and what the tilt by exp(r / kl_coef) makes of it."""
    tilted = law.probabilities * np.exp((law.rewards - law.rewards.max()) / kl_coef)
    tilted /= tilted.sum(axis=1, keepdims=True)
    return RewardLaw("computed", law.rewards, law.start @ law.probabilities, law.start @ tilted)


def certified_law(certificate: Certificate, kl_coef: float) -> RewardLaw:
    """The samples of pi0, prompt by prompt, and their weights exp(r / kl_coef)."""
    rewards = certificate.rewards.astype(np.float64)
    weights = np.exp((rewards - rewards.max(axis=1, keepdims=True)) / kl_coef)
    weights /= weights.sum(axis=1, keepdims=True) * len(rewards)
    return RewardLaw("certified", rewards.ravel(), np.full(rewards.size, 1 / rewards.size), weights.ravel())
