"""REINFORCE with the KL inside the return, and a choice of baselines.

    grad J = E S_t grad log pi(a_t|s_t) [ S_{t'>=t} (r - kl_coef (log pi - log pi0))_{t'} - baseline_t ]

KL is k1, detached: the one estimator whose place in the return gives the objective's gradient. No baseline
depends on the episode's own tokens, so that the gradient is unbiased and the fixed point is pi* with each:

- leave-one-out: the mean return to go at step t of the other episodes of the same prompt that are as long.
  Kool, van Hoof and Welling 2019; Ahmadian et al. 2024 (arXiv 2402.14740).
- remax: the reward to go at step t of the greedy text of the same prompt, which is written for that, and
  whose tokens count. The KL has no baseline. Li et al. 2023 (arXiv 2310.10505).
- batch: the mean return to go over all tokens of the batch's other episodes, whatever their prompt and step:
  REINFORCE++, Hu et al. 2025 (arXiv 2501.03262). Its division by the batch's standard deviation is
  ``--normalise``: the KL is inside the return and is divided with it, so that it moves no fixed point, but
  makes steps as long where little is at stake, and near pi* of noise alone.

Source: Williams 1992. One step of Adam an update, on whole episodes. Left out: a critic, several epochs (see
``agents.ppo``), and clipping, which acts in later steps of a batch alone (REINFORCE++ has it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, Part, training_parts
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
    """episodes of the same prompt (tasks without prompts: the whole batch); leave-one-out needs at least 2"""
    baseline: str = "leave-one-out"
    """what is taken off returns: leave-one-out, remax or batch"""
    normalise: bool = False
    """with the baseline of the batch: divide by the standard deviation over the batch's tokens"""
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


BASELINES = ("leave-one-out", "remax", "batch")
APART = 1 << 32
"""Added to the seed of the lanes in which greedy texts are written."""


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


def less_batch(to_go: Tensor, mask: Tensor, normalise: bool) -> Tensor:
    """Advantages [N, T]: return to go [N, T] less its mean over all tokens of the other episodes.

    Args:
        to_go: of N episodes.
        mask: bool [N, T].
        normalise: divides by the standard deviation over the tokens.
    """
    values, there = to_go * mask, mask.to(to_go.dtype)
    own, count = values.sum(dim=1, keepdim=True), there.sum(dim=1, keepdim=True)
    others = (own.sum() - own) / (count.sum() - count).clamp_min(1)
    advantages = (values - others) * there
    return advantages / (advantages[mask].std() + 1e-8) if normalise else advantages


def less_greedy(to_go: Tensor, mask: Tensor, greedy: Tensor) -> Tensor:
    """Advantages [N, T]: return to go [N, T] less the reward to go of the greedy text of its prompt.

    Args:
        to_go: of N episodes, group by group.
        mask: bool [N, T].
        greedy: [N / group, T'], in the same unit, zero after the greedy text's end.
    """
    group, steps = len(to_go) // len(greedy), to_go.shape[1]
    baseline = torch.nn.functional.pad(greedy, (0, max(steps - greedy.shape[1], 0)))[:, :steps]
    return (to_go - baseline.repeat_interleave(group, dim=0)) * mask


def to_go(values: Tensor) -> Tensor:
    """What is still to come at each step [N, T], the step's own among it."""
    return values.flip(1).cumsum(1).flip(1)


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


def check(args: ReinforceArguments, batch: int, group: int) -> None:
    """Raise ValueError where arguments do not fit each other."""
    if args.baseline not in BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {args.baseline!r}")
    least = 2 if args.baseline == "leave-one-out" else 1
    if group < least or batch % group:
        raise ValueError(f"group must be at least {least} and divide batch {batch}, got {group}")
    if args.normalise and args.baseline != "batch":
        raise ValueError(f"normalise must be False with the baseline {args.baseline}: it is the batch's")


def learn(args: ReinforceArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    settings = settings_of(args, task, DEFAULTS)
    batch, group = int(settings["batch"]), int(settings["group"])
    check(args, batch, group)
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
    greedy = policy.engine(task, batch // group, args.seed + APART) if args.baseline == "remax" else None
    if greedy is not None:
        parts["greedy engine"] = Part(greedy.randomness, greedy.restore_randomness)
    checkpoints = Checkpoints(args, training, parts, at_risk=(batch + batch // group) * task.horizon)
    while training.left:
        prompts = rng.integers(0, len(task.prompts.tokens), batch // group)
        trajectories = policy.write(engine, np.repeat(prompts, group), generator)
        paid, mask, steps = trajectories.paid(task.kl_coef), trajectories.mask, trajectories.steps
        if greedy is not None:
            best = policy.write(greedy, prompts, generator, greedy=True)
            steps += best.steps
            advantages = less_greedy(to_go(paid), mask, to_go(best.rewards / task.kl_coef))
        elif args.baseline == "batch":
            advantages = less_batch(to_go(paid), mask, args.normalise)
        else:
            advantages = leave_one_out(to_go(paid), mask, group)
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
        training.count(steps)
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
