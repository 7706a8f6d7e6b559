"""REINFORCE with a leave-one-out baseline and the KL inside the return.

    grad J = E S_t grad log pi(a_t|s_t) [ S_{t'>=t} (r - kl_coef (log pi - log pi0))_{t'} - baseline_t ]

KL is k1, detached: the one estimator whose place in the return gives the objective's gradient. The baseline
at step t is the mean return to go at t of the other episodes of the same prompt that are as long. It does not
depend on the episode's own tokens, so that the gradient is unbiased. Nothing is normalised by a batch's own
spread. Sources: Williams 1992; Kool, van Hoof and Welling 2019 (leave-one-out);
Ahmadian et al. 2024 (arXiv 2402.14740).

One step of Adam an update, on whole episodes. Left out: a critic, several epochs (see ``agents.ppo``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, training_parts
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation


@dataclass
class ReinforceArguments(NetworkArguments):
    """REINFORCE. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt, at least 2 (tasks without prompts: the whole batch)"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float | None = None
    """largest norm of a gradient, in nats"""
    quiet_norm: float | None = None
    """norm of a gradient, in nats, below which steps shrink with it, so that noise alone moves nothing far"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 32, "group": 32, "learning_rate": 7e-3, "clip_norm": 1.0, "quiet_norm": 0.0},
    "neural": {"batch": 64, "group": 4, "learning_rate": 5e-4, "clip_norm": 1.0, "quiet_norm": 0.0},
    "neural-all": {"batch": 64, "group": 4, "learning_rate": 6e-4, "clip_norm": 80.0, "quiet_norm": 40.0},
    "neural-lora": {"batch": 256, "group": 8, "learning_rate": 1e-3, "clip_norm": 1.0, "quiet_norm": 0.0},
}


def leave_one_out(to_go: Tensor, mask: Tensor, group: int) -> Tensor:
    """Advantages [N, T]: return to go [N, T] less the mean of the group's other episodes at that step.

    Episodes stand group by group. Where no other episode is as long, the baseline is that of the others'
    returns to go after their end, zero.
    """
    shape = (-1, group, to_go.shape[1])
    values, there = (to_go * mask).view(shape), mask.view(shape).to(to_go.dtype)
    total, count = values.sum(dim=1, keepdim=True), there.sum(dim=1, keepdim=True)
    others = (total - values) / (count - there).clamp_min(1)
    return ((values - others) * there).view(to_go.shape)


def descend(policy: PolicyNetwork, trajectories: Trajectories, advantages: Tensor, micro_batch: int) -> None:
    """Add the gradient of -J / kl_coef, that is of the mean over episodes of -(advantages log pi), in parts.

    Args:
        policy: gets the gradient.
        trajectories: N of them.
        advantages: [N, T], nats.
        micro_batch: episodes of a part; 0 for as many as is fastest.
    """
    count = len(advantages)
    for part in policy.split(torch.arange(count, device=advantages.device), micro_batch):
        log_probs, _ = policy.scores(trajectories, part)
        loss = -(advantages[part] * log_probs).sum() / count
        loss.backward()


def quiet_size(weights: Sequence[Tensor], norm: float) -> float:
    """Adam's epsilon: the size of each entry of a gradient of a norm, at least Adam's usual one.

    Adam makes steps of one size of gradients of any, so that where nothing is to be gained their noise moves
    the weights as far as a reward would.
    """
    return max(norm / sum(weight.numel() for weight in weights) ** 0.5, 1e-8)


def learn(args: ReinforceArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    settings = settings_of(args, task, DEFAULTS)
    batch, group = int(settings["batch"]), int(settings["group"])
    if group < 2 or batch % group:
        raise ValueError(f"group must be at least 2 and divide batch {batch}, got {group}")
    policy = make_network(task, critic=False, observe=args.observe, trained=trained_by(args)).to(device)
    engine = policy.engine(task, batch, args.seed)
    generator = torch.Generator(device).manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    weights = policy.actor_weights()
    optimizer = torch.optim.Adam(
        weights, betas=(0.9, 0.99), eps=quiet_size(weights, settings["quiet_norm"]), fused=True
    )
    average = WeightAverage(policy)
    parts = training_parts(policy, [optimizer], average, generator, rng, engine)
    checkpoints = Checkpoints(args, training, parts, at_risk=batch * task.horizon)
    while training.left:
        prompts = np.repeat(rng.integers(0, len(task.prompts.tokens), batch // group), group)
        trajectories = policy.write(engine, prompts, generator)
        paid = trajectories.paid(task.kl_coef)
        to_go = paid.flip(1).cumsum(1).flip(1)
        advantages = leave_one_out(to_go, trajectories.mask, group)
        optimizer.param_groups[0]["lr"] = scheduled(
            settings["learning_rate"], training.progress, args.warm_up
        )
        optimizer.zero_grad(set_to_none=True)
        descend(policy, trajectories, advantages, args.micro_batch)
        norm = torch.nn.utils.clip_grad_norm_(weights, settings["clip_norm"])
        optimizer.step()
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1), trajectories.rewards.sum(1)
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        objective = task.kl_coef * paid.sum(1).mean()
        training.note(objective=objective, reward=returns.mean(), kl=nats.mean(), gradient=norm)
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(policy.observes, policy.trains)
    return policy


def train(args: ReinforceArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "reinforce")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(ReinforceArguments, __doc__, DEFAULTS))))
