"""Q#: the distribution of the reward still to come under pi0, and the optimum that follows from it.

    Q(s, a) = kl_coef log E_0[exp(G / kl_coef) | s, a]        pi = pi0 exp((Q - V) / kl_coef)

where G is the reward still to come if pi0 goes on behind the token. Without luck that Q is pi*'s own, so that
nothing is bootstrapped: what pi0 writes tells it. A network gives the distribution of G over a few rewards of
the task's range and is trained by cross-entropy. A text of the present policy is broken off before a random
token, and pi0 writes on: the policy's last token and all of pi0's are examples of how pi0 goes on, so that
one text tells of all its beginnings. Examples of all rounds are kept and learnt from together: in the end
they come from where the policy goes. Source: Zhou et al. 2025 (arXiv 2502.20548).

A G between two rewards z of the network counts as one and the other, in shares that keep E exp(z / kl_coef).
Then Q is right at the task's kl_coef with any number of them; and it is about right at every other, for which
the saved network is a policy, too, if they are many.

Fixed point: pi*, whoever wrote the beginnings, where no luck draws the next state (with luck, the exponential
would hope for it: such tasks are refused). Normal noise on the reward raises all Q alike, and moves nothing
but what it pushes out of the range. The source's own weakness stays: where pi* is many nats from pi0, what
pi0 writes behind an early token hardly ever shows what it could lead to.

Left out: a second language model for Q (it is a network beside pi0), and checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from agents.arguments import Arguments, Defaults, parse, settings_of
from agents.networks.kept_batches import KeptBatches
from agents.networks.policy import WeightAverage
from agents.networks.q_values import QResidualPolicy, QTextPolicy, make_q_network
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation


@dataclass
class QSharpArguments(Arguments):
    """Q#. What is None depends on the kind of task: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes of a round"""
    updates: int | None = None
    """steps of the optimizer after each round, each on one round of those that are kept"""
    kept: int | None = None
    """rounds whose examples are kept, the latest"""
    atoms: int | None = None
    """rewards over which a distribution is learnt, equally spaced, at least 2"""
    hidden: str | None = None
    """widths of the three hidden layers"""
    reference_share: float = 0.1
    """share of the training in which pi0 writes whole texts, at first"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    adam_epsilon: float = 1e-3
    """Adam's: the numbers of tokens that are seen rarely move by what was seen, and not by whole steps"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient"""
    average_from: float = 0.8
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {
        "batch": 32, "updates": 2, "kept": 4096, "atoms": 9, "hidden": "256-128-64", "learning_rate": 2e-3,
    },
    "neural": {
        "batch": 64, "updates": 2, "kept": 256, "atoms": 17, "hidden": "256-256-256", "learning_rate": 5e-4,
    },
}  # fmt: skip


def shares_of(nats: Tensor, support: Tensor) -> Tensor:
    """Distributions [M, K] over the support that have exp(nats) [M] as their mean of its exponential.

    Args:
        nats: (G - highest) / kl_coef; what is out of the range counts as its end.
        support: [K], ascending.
    """
    nats = nats.clamp(float(support[0]), float(support[-1]))
    above = torch.searchsorted(support, nats).clamp(1, len(support) - 1)
    lower, upper = support[above - 1], support[above]
    share = torch.expm1(nats - lower) / torch.expm1(upper - lower)
    shares = nats.new_zeros(len(nats), len(support))
    shares.scatter_(1, above[:, None] - 1, 1 - share[:, None])
    return shares.scatter_(1, above[:, None], share[:, None])


def examples_of(trajectories: Trajectories, reference_from: Tensor) -> Trajectories:
    """Episodes as examples: ``rewards`` still to come, ``mask`` where pi0 wrote all behind the token.

    Args:
        trajectories: [N, T].
        reference_from: int64 [N], the step from which on pi0 wrote.
    """
    steps = torch.arange(trajectories.mask.shape[1], device=trajectories.mask.device)
    return replace(
        trajectories,
        rows=trajectories.rows.new_zeros((*trajectories.mask.shape, 0)),  # they would fill the memory
        rewards=trajectories.rewards.flip(1).cumsum(1).flip(1),
        mask=trajectories.mask & (steps >= reference_from[:, None] - 1),
    )


class QSharp:
    """The network, the examples, and the update."""

    def __init__(self, args: QSharpArguments, training: Training, device: torch.device) -> None:
        self.args, self.task = args, training.task
        if self.task.exact is not None and not self.task.exact.automaton.deterministic:
            raise ValueError(
                f"q_sharp needs a task whose next state follows from the token, and in {training.row.gym_id} "
                "luck has a part in it; take agents.dqn"
            )
        self.settings = settings = settings_of(args, self.task, DEFAULTS)
        if settings["atoms"] < 2:
            raise ValueError(f"atoms must be at least 2, got {settings['atoms']}")
        self.policy: QResidualPolicy | QTextPolicy = make_q_network(
            self.task, settings["hidden"], settings["atoms"]
        ).to(device)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(
            self.weights,
            lr=settings["learning_rate"],
            betas=(0.9, 0.99),
            eps=args.adam_epsilon,
            fused=True,
        )
        self.replay = KeptBatches(settings["kept"], device)
        self.engine = self.policy.engine(self.task, settings["batch"], args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self, progress: float) -> Trajectories:
        """A round: texts of the present policy up to a random step, of pi0 from there; examples are kept."""
        count = self.settings["batch"]
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), count)
        reference_from = self.rng.integers(0, self.task.horizon, count)
        if progress < self.args.reference_share:
            reference_from[:] = 0
        by_reference = np.arange(self.task.horizon) >= reference_from[:, None]
        trajectories = self.policy.write(self.engine, prompts, self.generator, by_reference=by_reference)
        device = trajectories.mask.device
        self.replay.add(examples_of(trajectories, torch.as_tensor(reference_from, device=device)))
        return trajectories

    def loss(self, examples: Trajectories) -> Tensor:
        """The mean cross-entropy of the examples."""
        every = torch.arange(len(examples.mask), device=examples.mask.device)
        numbers = self.policy.taken(examples, every)
        highest = self.task.mean_reward_range[1]
        nats = (examples.rewards[examples.mask] - highest) / self.task.kl_coef
        shares = shares_of(nats, self.policy.support)
        return -(shares * numbers.log_softmax(dim=-1)).sum() / max(len(shares), 1)

    def update(self, progress: float) -> float:
        """Some steps on rounds of all times; returns the last loss."""
        loss = torch.zeros(())
        self.optimizer.param_groups[0]["lr"] = scheduled(
            self.optimizer.defaults["lr"], progress, self.args.warm_up
        )
        for _ in range(self.settings["updates"]):
            loss = self.loss(self.replay.draw(self.rng))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm)
            self.optimizer.step()
        return float(loss.detach())


def learn(args: QSharpArguments, training: Training, device: torch.device) -> QResidualPolicy | QTextPolicy:
    """The policy that is learnt inside the token budget; what is noted is of the mixture with pi0."""
    task, learner = training.task, QSharp(args, training, device)
    average = WeightAverage(learner.policy)
    while training.left:
        trajectories = learner.write(training.progress)
        loss = learner.update(training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1).mean(), trajectories.rewards.sum(1).mean()
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        training.note(objective=returns - task.kl_coef * nats, reward=returns, kl=nats, loss=loss)
    average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: QSharpArguments) -> Evaluation:
    """Learn inside the token budget and evaluate.

    Raises:
        ValueError: luck has a part in the task's next state.
    """
    device = prepare(args)
    training = Training(args, "q_sharp")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(QSharpArguments, __doc__, DEFAULTS))))
