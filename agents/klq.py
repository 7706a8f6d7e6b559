"""KLQ: action values that are the policy's own log-ratios, regressed on lambda-returns.

In nats, r / kl_coef, a policy with a value is a function of action values,

    Q(s, a) = log pi(a|s) - log pi0(a|s) + V(s)

so that V = log sum_a pi0 exp Q and pi = pi0 exp(Q - V), whatever its networks say. On texts of the present
policy the target of Q is the soft lambda-return, held fixed over the batch,

    G_t = Q_t + S_k lambda^k delta_{t+k}               delta_t = r_t + V(s_{t+1}) - Q_t
    loss = S_t (Q_t - G_t)^2 / 2

with gamma = 1 and V = 0 behind the end. There is one loss for policy and critic, no ratio to the policy that
wrote and nothing to clip; some passes on V alone follow. Source: Brown et al. 2025 (arXiv 2508.17000).

On exact tasks pi0 writes the first tokens of half of a batch, and a batch is learnt from again with its texts
cut short (``agents.networks.hindsight``): so the policy learns of states that it has come to avoid, and from
all tokens what last ones are worth. Log-ratios are then the present policy's, whoever wrote.

Fixed point: pi*, for each lambda, as expected deltas are zero where Q is the policy's own soft value, and pi
is pi0 exp(Q - V) of it; at pi* they are zero on whatever text. Where luck draws the next state, Q is the mean
of what follows: E[V'], as it must be. For lambda = 1 and texts of its own the policy's first gradient on a
batch is that of -J / kl_coef, whatever V is.

Added: passes on V alone, and an average of the last weights. Left out: any whitening of rewards and any
clipping, either of which would move the fixed point. Without clipping a second pass over a batch is a risk:
where returns are long the policy takes for its own what V has not learnt yet, and runs away (Topic-v0, three
passes of 7e-3: 69 nats from pi0 after 60,000 tokens; one pass: score .75). So exact tasks get one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, Part, training_parts
from agents.networks.beginnings import begun_by_reference, check_begun
from agents.networks.hindsight import Hindsight
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation


@dataclass
class KLQArguments(NetworkArguments):
    """KLQ. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt in a batch; each prompt is read once"""
    minibatch: int | None = None
    """episodes per step of the optimizers"""
    epochs: int | None = None
    """passes over a batch, with the same targets"""
    begun: float | None = None
    """share of a batch of which pi0 writes the first tokens, 1 to horizon - 1; not for language models"""
    cut_passes: int | None = None
    """further passes over a batch, its texts cut short as if the horizon had come; 0 on neural tasks"""
    learning_rate: float | None = None
    """Adam's learning rate of the policy at its peak"""
    adam_epsilon: float | None = None
    """Adam's: what moves a number less than this moves it by less than a whole step"""
    critic_learning_rate: float = 1e-3
    """the same of the critic"""
    pair_learning_rate: float = 1e-2
    """the same of the critic's numbers for pairs of tokens, each of which is seen rarely"""
    critic_epochs: int = 3
    """passes of the critic alone over a batch thereafter"""
    return_lambda: float | None = None
    """of the returns: 1 for the whole return, 0 for one step"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float | None = None
    """largest norm of the policy's gradient"""
    average_from: float = 0.8
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {
        "batch": 32, "group": 1, "minibatch": 32, "epochs": 1, "learning_rate": 7e-3,
        "return_lambda": 0.95, "clip_norm": 1.0, "adam_epsilon": 1e-3, "begun": 0.5, "cut_passes": 3,
    },
    "neural": {
        "batch": 128, "group": 4, "minibatch": 32, "epochs": 2, "learning_rate": 5e-4,
        "return_lambda": 0.9, "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut_passes": 0,
    },
    "neural-all": {
        "batch": 256, "group": 8, "minibatch": 128, "epochs": 2, "learning_rate": 1e-4,
        "return_lambda": 0.95, "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut_passes": 0,
    },
    "neural-lora": {
        "batch": 256, "group": 8, "minibatch": 128, "epochs": 2, "learning_rate": 1e-3,
        "return_lambda": 0.95, "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut_passes": 0,
    },
}  # fmt: skip


def surplus_of(paid: Tensor, values: Tensor, mask: Tensor, return_lambda: float) -> Tensor:
    """G - Q [N, T] of finished episodes, nats: the sum of what steps were worth beyond what was expected.

    Args:
        paid: [N, T], r / kl_coef - (log pi - log pi0).
        values: [N, T], soft values of the states in which the steps were taken.
        mask: bool [N, T], the steps that were taken.
        return_lambda: how fast later steps cease to count.
    """
    values = torch.where(mask, values, 0.0)
    delta = paid + nn.functional.pad(values[:, 1:], (0, 1)) - values
    surplus = torch.zeros_like(delta)
    following = delta.new_zeros(len(delta))
    for step in reversed(range(delta.shape[1])):
        following = torch.where(mask[:, step], delta[:, step] + return_lambda * following, 0.0)
        surplus[:, step] = following
    return surplus


@torch.no_grad()
def targets_of(
    policy: PolicyNetwork, trajectories: Trajectories, kl_coef: float, return_lambda: float
) -> Tensor:
    """G [N, T], nats, of softened episodes."""
    values = policy.values(
        trajectories, torch.arange(len(trajectories.mask), device=trajectories.mask.device)
    )
    surplus = surplus_of(trajectories.paid(kl_coef), values, trajectories.mask, return_lambda)
    return trajectories.log_ratios + values + surplus


def descend(
    policy: PolicyNetwork, trajectories: Trajectories, targets: Tensor, part: Tensor, micro_batch: int
) -> Tensor:
    """Add the gradient of the mean over the episodes ``part`` [n] of the loss, and return that mean.

    Args:
        policy: gets the gradient, in its critic, too.
        trajectories: N of them, softened.
        targets: G [N, T], nats.
        part: which of the N.
        micro_batch: episodes whose gradient is computed at once; 0 for as many as is fastest.
    """
    total = torch.zeros((), device=targets.device)
    reference = trajectories.log_probs - trajectories.log_ratios
    for some in policy.split(part, micro_batch):
        log_probs, _ = policy.scores(trajectories, some)
        action_values = log_probs - reference[some] + policy.values(trajectories, some)
        error = torch.where(trajectories.mask[some], action_values - targets[some], 0.0)
        loss = error.square().sum() / (2 * len(part))
        loss.backward()
        total += loss.detach()
    return total


@torch.no_grad()
def rescored(policy: PolicyNetwork, trajectories: Trajectories) -> Trajectories:
    """Episodes of whatever policy with the log-probs of this one."""
    every = torch.arange(len(trajectories.mask), device=trajectories.mask.device)
    log_probs, _ = policy.scores(trajectories, every)
    moved = torch.where(trajectories.mask, log_probs - trajectories.log_probs, 0.0)
    return replace(trajectories, log_probs=log_probs, log_ratios=trajectories.log_ratios + moved)


class KLQ:
    """A policy with its critic, their optimizers, and the update."""

    def __init__(self, args: KLQArguments, training: Training, device: torch.device) -> None:
        self.args, self.task, self.device = args, training.task, device
        self.settings = settings = settings_of(args, self.task, DEFAULTS)
        batch, group, minibatch = (int(settings[name]) for name in ("batch", "group", "minibatch"))
        if batch % group or batch % minibatch:
            raise ValueError(f"group and minibatch must divide batch {batch}, got {group} and {minibatch}")
        check_begun(settings["begun"], args.train)
        if settings["cut_passes"] < 0:
            raise ValueError(f"cut_passes must be at least 0, got {settings['cut_passes']}")
        self.policy = make_network(self.task, observe=args.observe, trained=trained_by(args)).to(device)
        sparse = {m.weight for m in self.policy.modules() if isinstance(m, nn.Embedding) and m.sparse}
        dense = [weight for weight in self.policy.critic_weights() if weight not in sparse]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.99), eps=settings["adam_epsilon"], fused=True)
            for weights, rate in (
                (self.policy.actor_weights(), settings["learning_rate"]),
                (dense, args.critic_learning_rate),
            )
        ]
        if sparse:
            self.optimizers.append(torch.optim.SparseAdam(sparse, lr=args.pair_learning_rate))
        self.hindsight = Hindsight(self.task, float(settings["cut_passes"] > 0))
        self.engine = self.policy.engine(self.task, batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of episodes of the present policy, some of which pi0 has begun."""
        batch, group = self.settings["batch"], self.settings["group"]
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), batch // group)
        begun = begun_by_reference(batch, self.settings["begun"], self.task.horizon, self.rng)
        return self.policy.write(self.engine, np.repeat(prompts, group), self.generator, by_reference=begun)

    def update(self, trajectories: Trajectories, progress: float) -> float:
        """Learn from a batch, and from its texts cut short; returns the last loss of the batch itself."""
        trajectories = self.policy.softened(trajectories)
        if progress == 0:
            self.policy.level(trajectories.paid(self.task.kl_coef).sum(dim=1))
        self.hindsight.learn(trajectories)
        own = rescored(self.policy, trajectories) if self.settings["begun"] else trajectories
        loss = self.learn_from(own, progress)
        for _ in range(self.settings["cut_passes"] if self.hindsight.cuts else 0):
            shorter = self.policy.softened(self.hindsight.cut(trajectories, self.rng))
            self.learn_from(rescored(self.policy, shorter), progress)
        return loss

    def learn_from(self, trajectories: Trajectories, progress: float) -> float:
        """Some passes over a batch of episodes, which have the policy's scores; returns the last loss."""
        targets = targets_of(self.policy, trajectories, self.task.kl_coef, self.settings["return_lambda"])
        loss = torch.zeros(())
        for part in self.parts(self.settings["epochs"]):
            self.clear(progress)
            loss = descend(self.policy, trajectories, targets, part, self.args.micro_batch)
            torch.nn.utils.clip_grad_norm_(self.policy.actor_weights(), self.settings["clip_norm"])
            for optimizer in self.optimizers:
                optimizer.step()
        # what Q's target leaves for V, where the policy has taken its share
        targets, mask = targets - trajectories.log_ratios, trajectories.mask
        for part in self.parts(self.args.critic_epochs):
            self.clear(progress)
            error = torch.where(mask[part], self.policy.values(trajectories, part) - targets[part], 0.0)
            (error.square().sum() / (2 * len(part))).backward()
            for optimizer in self.optimizers[1:]:
                optimizer.step()
        return float(loss)

    def parts(self, epochs: int) -> Iterator[Tensor]:
        """Minibatches of episodes, in a new order each epoch."""
        for _ in range(epochs):
            order = torch.as_tensor(self.rng.permutation(self.settings["batch"]), device=self.device)
            yield from order.split(self.settings["minibatch"])

    def clear(self, progress: float) -> None:
        """No gradient, and the learning rates of the schedule."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            rate = scheduled(optimizer.defaults["lr"], progress, self.args.warm_up)
            optimizer.param_groups[0]["lr"] = rate


def learn(args: KLQArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task, learner = training.task, KLQ(args, training, device)
    average = WeightAverage(learner.policy)
    parts = training_parts(
        learner.policy, learner.optimizers, average, learner.generator, learner.rng, learner.engine
    )
    parts["hindsight"] = Part(learner.hindsight.state, learner.hindsight.restore)
    checkpoints = Checkpoints(args, training, parts, at_risk=learner.engine.lanes * task.horizon)
    while training.left:
        trajectories = learner.write()
        loss = learner.update(trajectories, training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1).mean(), trajectories.rewards.sum(1).mean()
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        training.note(objective=returns - task.kl_coef * nats, reward=returns, kl=nats, loss=loss)
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: KLQArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "klq")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(KLQArguments, __doc__, DEFAULTS))))
