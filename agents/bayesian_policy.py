"""Bayesian reinforcement learning of an exact environment with a small state: believe, plan, act.

What is not known is the environment's automaton: where token a leads from state q, and what it pays. The
prior is independent in each q and a, and conjugate:

    P(. | q, a) ~ Dirichlet    over the states and the end of the episode, ``concentration`` in all
    R(q, a)     ~ Normal       of mean 0; apart for the last step, where the horizon is paid, too

After each batch of episodes the posterior is exact (the variance of a reward is taken as known). The policy
is pi* of a model, by the soft dynamic programme on (context, state, time):

    X_t(q, a) = R(q, a) + sum_q' P(q'|q, a) V_t+1(c', q')
    V_t(c, q) = beta log sum_a pi0(a|c) exp(X_t(q, a) / beta)
    pi_t(a|c, q) = pi0(a|c) exp((X_t(q, a) - V_t(c, q)) / beta)

beta = kl_coef, pi0 and its context c' after a are known. The model is a draw from the posterior, one a batch
(``--act thompson``: Strens 2000; Osband, Russo and Van Roy 2013, arXiv 1306.0940), whose doubt about what was
never tried is all the exploration that there is; or the posterior mean (``--act mean``), explored as
``agents.exploration`` says. The policy that is scored is that of the posterior mean. The soft optimum:
Haarnoja et al. 2017 (arXiv 1702.08165).

Fixed point: pi*, as the posterior of all that pi* visits concentrates on the truth. What remains is
shrinkage: tokens that were never tried are believed to pay 0 and to lead anywhere.

Left out: priors that share between tokens or states, without which a vocabulary is learnt word by word; the
Bayes-optimal policy, which plans what it will learn; an initial policy, as it begins with what it believes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.arguments import Arguments, Defaults, parse
from agents.exploration import Explore, exploring, normalised, strength_at
from agents.networks.lanes import StateEpisodes, write_episodes
from agents.run import Training, mean, report
from klrl_envs import AutomatonTask, Engine, Evaluation
from klrl_envs.networks.table import Table

FloatArray = NDArray[np.float64]

LARGEST_BELIEF = 1 << 24
"""States times tokens times states of which a distribution is kept."""
WITH_LUCK = 1.0
"""The concentration where what follows a token is drawn."""
CERTAIN = 0.1
"""The same where it is not: once seen it is believed."""


@dataclass
class BayesianArguments(Arguments):
    """The Bayesian loop. Exploration that is None depends on the model that is acted on: see ``DEFAULTS``."""

    lanes: int = 32
    """episodes between two posteriors"""
    act: str = "thompson"
    """the model that is acted on: thompson for a draw from the posterior, or mean"""
    explore: str = "reference"
    """what is tried beside: "reference", "uniform", "boltzmann" or "ucb", see agents/exploration.py"""
    exploration: float | None = None
    """its strength at first: a share, or nats for ucb"""
    exploration_end: float | None = None
    """the same at the end"""
    concentration: float | None = None
    """of the Dirichlet prior, in visits; None for .1 where no step is drawn, else 1"""
    prior: float = 5.0
    """standard deviation of a reward before it is seen, nats"""
    noise: float = 0.5
    """standard deviation of a reward around its mean, nats; at least that which the task declares"""


DEFAULTS: Defaults = {
    "thompson": {"exploration": 0.0, "exploration_end": 0.0},
    "mean": {"exploration": 0.5, "exploration_end": 0.1},
}


@dataclass(frozen=True)
class Model:
    """An automaton that may be.

    Attributes:
        chances: float64 [Q, V, Q + 1], where a token leads; Q is the end of the episode.
        rewards: float64 [2, Q, V], what it pays before the last step, and in it.
    """

    chances: FloatArray
    rewards: FloatArray


class Belief:
    """The posterior over models.

    Args:
        task: an exact task, of which sizes alone are read, and whether luck is in it.
        concentration, prior, noise: see ``BayesianArguments``.

    Attributes:
        counts: float64 [Q, V, Q + 1], how often a token led where.
        visits, paid: float64 [2, Q, V], how often a token was written, and what it paid in all.

    Raises:
        ValueError: a task of too many states, or that a bigram does not describe.
    """

    def __init__(
        self,
        task: AutomatonTask,
        *,
        concentration: float | None = None,
        prior: float = 5.0,
        noise: float = 0.5,
    ) -> None:
        states, tokens = task.automaton.states, task.vocab_size
        if states * tokens * (states + 1) > LARGEST_BELIEF:
            raise ValueError(
                f"bayesian_policy needs an environment of few states: {states} states times {tokens} tokens "
                f"times {states} are more than {LARGEST_BELIEF}"
            )
        if task.replies is not None or task.reference.arc_tokens.size != tokens:
            raise ValueError(
                "bayesian_policy needs an environment that never writes itself, and a bigram or the uniform "
                f"reference, and {task.id} is none"
            )
        if task.automaton.context_reward is not None:
            raise ValueError(
                f"bayesian_policy needs rewards of state and token, and {task.id} pays by context, too"
            )
        certain = CERTAIN if task.automaton.deterministic else WITH_LUCK
        self._concentration = certain if concentration is None else concentration
        self._prior_variance = (prior * task.kl_coef) ** 2
        self._noise_variance = max(noise * task.kl_coef, task.reward_noise) ** 2
        self._horizon = task.horizon
        self.counts = np.zeros((states, tokens, states + 1))
        self.visits = np.zeros((2, states, tokens))
        self.paid = np.zeros((2, states, tokens))

    def learn(self, written: StateEpisodes) -> None:
        """Count what episodes show."""
        mask, states = written.mask, len(self.counts)
        goes_on = np.zeros_like(mask)
        goes_on[:, :-1] = mask[:, 1:]
        last = np.broadcast_to(np.arange(mask.shape[1]) == self._horizon - 1, mask.shape)
        place = (last[mask].astype(np.int64), written.state[mask], written.actions[mask])
        np.add.at(self.visits, place, 1.0)
        np.add.at(self.paid, place, written.rewards[mask])
        told = mask & ~last  # after the last step nobody knows whether the token ended the episode
        after = np.where(goes_on, written.after, states)
        np.add.at(self.counts, (written.state[told], written.actions[told], after[told]), 1.0)

    def mean(self) -> Model:
        """The posterior mean."""
        shares = self._shares()
        return Model(shares / shares.sum(axis=2, keepdims=True), self._rewards()[0])

    def draw(self, rng: np.random.Generator) -> Model:
        """A model drawn from the posterior."""
        shares = rng.standard_gamma(self._shares()) + np.finfo(np.float64).tiny
        means, deviations = self._rewards()
        return Model(shares / shares.sum(axis=2, keepdims=True), rng.normal(means, deviations))

    def _shares(self) -> FloatArray:
        """The Dirichlet's parameters."""
        return self.counts + self._concentration / self.counts.shape[2]

    def _rewards(self) -> tuple[FloatArray, FloatArray]:
        """Means and standard deviations [2, Q, V] of the mean rewards."""
        precision = 1 / self._prior_variance + self.visits / self._noise_variance
        return self.paid / self._noise_variance / precision, precision**-0.5


def plan(task: AutomatonTask, model: Model) -> FloatArray:
    """X float64 [T, Q, V], what a token is worth in a state at a time, under pi* of a model."""
    states, beta = len(model.chances), task.kl_coef
    probabilities = np.exp(task.reference.rows(np.arange(task.reference.contexts)))
    worth = np.empty((task.horizon, states, task.vocab_size))
    values = np.zeros((task.reference.contexts, states + 1))  # the end's stay 0
    for time in reversed(range(task.horizon)):
        worth[time] = model.rewards[int(time == task.horizon - 1)]
        if time < task.horizon - 1:
            worth[time] += np.einsum("qak,ak->qa", model.chances, values[task.reference.arc_contexts])
        top = worth[time].max(axis=1)
        weights = np.exp((worth[time] - top[:, None]) / beta)
        values[:, :states] = top + beta * np.log(probabilities @ weights.T)
    return worth


def behave(
    task: AutomatonTask,
    worth: FloatArray,
    visits: FloatArray,
    explore: Explore,
    strength: float,
    context: NDArray[np.int64],
    state: NDArray[np.int64],
    time: int,
) -> FloatArray:
    """log mu [N, V] in states [N]: the policy of X [T, Q, V], explored by visits [Q, V]."""
    reference = task.reference.rows(context)
    rows = normalised(reference + worth[time, state] / task.kl_coef)
    return explore(rows, reference, visits[state], strength)


def as_table(task: AutomatonTask, worth: FloatArray) -> Table:
    """The policy pi0 exp(X / kl_coef) / Z of X [T, Q, V]."""
    table = Table(task)
    spread = np.repeat(worth.reshape(-1, task.vocab_size), task.reference.contexts, axis=0)
    table.values[: len(spread)] = spread
    return table


def train(args: BayesianArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    training = Training(args, "bayesian_policy")
    task = training.task.exact
    if task is None:
        raise ValueError(f"bayesian_policy needs an exact environment, and {training.row.gym_id} is none")
    if args.act not in DEFAULTS:
        raise ValueError(f"act must be one of {', '.join(DEFAULTS)}, got {args.act!r}")
    explore, chosen = exploring(args.explore), DEFAULTS[args.act]
    first = chosen["exploration"] if args.exploration is None else args.exploration
    last = chosen["exploration_end"] if args.exploration_end is None else args.exploration_end
    belief = Belief(task, concentration=args.concentration, prior=args.prior, noise=args.noise)
    engine, rng = Engine(task, args.lanes), np.random.default_rng(args.seed)
    engine.seed_lanes(np.random.default_rng((args.seed, 1)))
    while training.left:
        strength = strength_at(training.progress, first, last)
        worth = plan(task, belief.draw(rng) if args.act == "thompson" else belief.mean())
        tried = belief.visits.sum(axis=0)

        written = write_episodes(engine, partial(behave, task, worth, tried, explore, strength), rng)
        belief.learn(written)
        training.count(written.steps)
        training.record(written.episodes(training.tokens, task.kl_coef))
        reward, nats = mean(written.rewards.sum(axis=1)), mean(written.log_ratios.sum(axis=1))
        objective = reward - task.kl_coef * nats
        training.note(objective=objective, reward=reward, kl=nats, tried=(tried > 0).mean())
    table = as_table(task, plan(task, belief.mean()))
    training.describe("context, automaton's state, time", "a belief about the automaton")
    return training.finish(table, network=table)


if __name__ == "__main__":
    print(report(train(parse(BayesianArguments, __doc__, DEFAULTS))))
