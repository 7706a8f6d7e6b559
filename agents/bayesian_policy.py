"""Bayesian reinforcement learning of an exact environment: believe, plan, act.

What is not known is the environment's automaton: where token a leads from state q, and what it pays. Where
luck has a part in it the prior is independent in each q and a, and conjugate:

    P(. | q, a) ~ Dirichlet    over the states and the end of the episode, ``concentration`` in all
    R(q, a)     ~ Normal       of mean 0; apart for the last step, where the horizon is paid, too

Where it has none, what was seen once is known, and tokens share their prior: see
``agents.networks.certain_belief``. The posterior follows after each batch of episodes (the variance of a
reward is taken as known). The policy is pi* of a model, by the soft dynamic programme on (context, state,
time):

    X_t(q, a) = R(q, a) + sum_q' P(q'|q, a) V_t+1(c', q')
    V_t(c, q) = beta log sum_a pi0(a|c) exp(X_t(q, a) / beta)
    pi_t(a|c, q) = pi0(a|c) exp((X_t(q, a) - V_t(c, q)) / beta)

beta = kl_coef, pi0 and its context c' after a are known. The model is a draw from the posterior, one a batch
(``--act thompson``: Strens 2000; Osband, Russo and Van Roy 2013, arXiv 1306.0940), whose doubt about what was
never tried is all the exploration that there is; or the posterior mean (``--act mean``), explored as
``agents.exploration`` says. The policy that is scored is that of the posterior mean. The soft optimum:
Haarnoja et al. 2017 (arXiv 1702.08165).

Fixed point: pi*, as the posterior of all that pi* visits concentrates on the truth. What remains is
shrinkage: a token that was never tried in a state is believed to do there what others do.

Left out: the Bayes-optimal policy, which plans what it will learn; states that are alike, as those of another
prompt are, without which nothing is known of a prompt that was never played (such tasks are refused); an
initial policy, as it begins with what it believes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.arguments import Arguments, Defaults, parse
from agents.exploration import Explore, exploring, strength_at
from agents.networks.certain_belief import CertainBelief, CertainModel, normal
from agents.networks.lanes import StateEpisodes, write_episodes
from agents.run import Training, mean, report
from klrl_envs import AutomatonTask, Engine, Evaluation
from klrl_envs.networks.state_table import StateTable, table_shape

FloatArray = NDArray[np.float64]

LARGEST_BELIEF = 1 << 24
"""States times tokens times states of which a distribution is kept."""
POSTERIORS = 128
"""Of a training whose texts are full, where nothing else is said."""
LEAST = -60.0
"""Nats: the least log-probability with which float32 does."""
NOISE = {True: 0.5, False: 0.01}
"""Of rewards, with luck and without, nats."""


@dataclass
class BayesianArguments(Arguments):
    """The Bayesian loop. Exploration that is None depends on the model that is acted on: see ``DEFAULTS``."""

    lanes: int | None = None
    """episodes between two posteriors; None for 32, or so many that 128 fill the budget with full texts"""
    act: str = "thompson"
    """the model that is acted on: thompson for a draw from the posterior, or mean"""
    explore: str = "reference"
    """what is tried beside: "reference", "uniform", "boltzmann" or "ucb", see agents/exploration.py"""
    exploration: float | None = None
    """its strength at first: a share, or nats for ucb"""
    exploration_end: float | None = None
    """the same at the end"""
    concentration: float = 1.0
    """of the Dirichlet prior, in visits; of tasks with luck alone"""
    prior: float = 5.0
    """standard deviation of a reward before it is seen, nats"""
    noise: float | None = None
    """that of a reward around its mean, nats, at least the task's own; None for .5 with luck, else .01"""


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

    def worth(self, values: FloatArray | None) -> FloatArray:
        """What tokens are worth [Q, V], of values [V, Q + 1] of what follows; None in the last step."""
        if values is None:
            return self.rewards[1]
        return self.rewards[0] + np.einsum("qak,ak->qa", self.chances, values)


class Belief:
    """The posterior over models of tasks with luck.

    Args:
        task: an exact task, of which sizes alone are read.
        concentration, prior, noise: see ``BayesianArguments``.

    Attributes:
        counts: float64 [Q, V, Q + 1], how often a token led where.
        told, paid: float64 [2, Q, V], how often a token was written, and what it paid in all.

    Raises:
        ValueError: a task of too many states.
    """

    def __init__(
        self, task: AutomatonTask, *, concentration: float = 1.0, prior: float = 5.0, noise: float = 0.5
    ) -> None:
        states, tokens = task.automaton.states, task.vocab_size
        if states * tokens * (states + 1) > LARGEST_BELIEF:
            raise ValueError(
                f"bayesian_policy needs an environment of few states: {states} states times {tokens} tokens "
                f"times {states} are more than {LARGEST_BELIEF}"
            )
        self._concentration = concentration
        self._prior_variance = (prior * task.kl_coef) ** 2
        self._noise_variance = max(noise * task.kl_coef, task.reward_noise) ** 2
        self._horizon = task.horizon
        self.counts = np.zeros((states, tokens, states + 1))
        self.told = np.zeros((2, states, tokens))
        self.paid = np.zeros((2, states, tokens))

    @property
    def visits(self) -> FloatArray:
        """How often a token was written [Q, V]."""
        return self.told.sum(axis=0)

    def learn(self, written: StateEpisodes) -> None:
        """Count what episodes show."""
        mask, states = written.mask, len(self.counts)
        goes_on = np.zeros_like(mask)
        goes_on[:, :-1] = mask[:, 1:]
        last = np.broadcast_to(np.arange(mask.shape[1]) == self._horizon - 1, mask.shape)
        place = (last[mask].astype(np.int64), written.state[mask], written.actions[mask])
        np.add.at(self.told, place, 1.0)
        np.add.at(self.paid, place, written.rewards[mask])
        inner = mask & ~last  # after the last step nobody knows whether the token ended the episode
        after = np.where(goes_on, written.after, states)
        np.add.at(self.counts, (written.state[inner], written.actions[inner], after[inner]), 1.0)

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
        return normal(self._prior_variance, self._noise_variance, self.told, self.paid)


def check_fits(task: AutomatonTask) -> None:
    """ValueError for a task that writes itself, that pays by context, or that no bigram describes."""
    if task.replies is not None or task.reference.arc_tokens.size != task.vocab_size:
        raise ValueError(
            "bayesian_policy needs an environment that never writes itself, and a bigram or the uniform "
            f"reference, and {task.id} is none"
        )
    if task.automaton.context_reward is not None:
        raise ValueError(
            f"bayesian_policy needs rewards of state and token, and {task.id} pays by context, too"
        )


def believing(task: AutomatonTask, args: BayesianArguments) -> Belief | CertainBelief:
    """The prior that fits a task; ValueError for too many states."""
    luck = not task.automaton.deterministic
    noise = NOISE[luck] if args.noise is None else args.noise
    if luck:
        return Belief(task, concentration=args.concentration, prior=args.prior, noise=noise)
    return CertainBelief(task, prior=args.prior, noise=noise)


def plan(task: AutomatonTask, model: Model | CertainModel) -> NDArray[np.float32]:
    """X float32 [T, Q, V], what a token is worth in a state at a time, under pi* of a model."""
    states, beta = task.automaton.states, task.kl_coef
    # the sum of a row may be as small as its least probability, of which float32 holds none below e^-87
    precision = np.float32 if task.reference.least > LEAST else np.float64
    probabilities = np.exp(task.reference.rows(np.arange(task.reference.contexts))).astype(precision)
    worth = np.empty(table_shape(task), dtype=np.float32)
    values: FloatArray | None = None
    for time in reversed(range(task.horizon)):
        worth[time] = model.worth(None if values is None else values[task.reference.arc_contexts])
        top = worth[time].max(axis=1)
        weights = np.exp((worth[time] - top[:, None]) / beta, dtype=precision)
        values = np.zeros((task.reference.contexts, states + 1))  # the end's stay 0
        values[:, :states] = top + beta * np.log(probabilities @ weights.T)
    return worth


def behave(
    table: StateTable,
    visits: NDArray[Any],
    explore: Explore,
    strength: float,
    context: NDArray[np.int64],
    state: NDArray[np.int64],
    time: int,
) -> FloatArray:
    """log mu [N, V] in states [N]: the policy of a table, explored by visits [Q, V]."""
    rows = table.state_log_probs(context, state, np.full_like(state, time))
    return explore(rows, table.task.reference.rows(context), visits[state], strength)


def as_table(task: AutomatonTask, worth: NDArray[np.float32]) -> StateTable:
    """The policy pi0 exp(X / kl_coef) / Z of X [T, Q, V]."""
    table = StateTable(task)
    table.values = worth
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
    check_fits(task)
    StateTable(task).for_evaluation(training.evaluation_task)  # refused before anything is written
    belief = believing(task, args)
    fitting = max(32, math.ceil(training.budget / task.horizon / POSTERIORS))
    lanes = fitting if args.lanes is None else args.lanes
    engine, rng = Engine(task, lanes), np.random.default_rng(args.seed)
    engine.seed_lanes(np.random.default_rng((args.seed, 1)))
    while training.left:
        strength = strength_at(training.progress, first, last)
        model = belief.draw(rng) if args.act == "thompson" else belief.mean()
        table, tried = as_table(task, plan(task, model)), belief.visits.copy()
        written = write_episodes(engine, partial(behave, table, tried, explore, strength), rng)
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
