"""REINFORCE with a leave-one-out baseline and the KL inside the return.

    grad J = E S_t grad log pi(a_t|s_t) [ S_{t'>=t} (r - kl_coef (log pi - log pi0))_{t'} - baseline_t ]

KL is k1, detached: the one estimator whose place in the return gives the objective's gradient. The baseline
at step t is the mean of the other episodes' return to go at t, over those of the same prompt that are as
long; it does not depend on the episode's own tokens, so that the gradient is unbiased. Nothing is
normalised by a batch's own spread. Sources: Williams 1992; Kool, van Hoof and Welling 2019 (leave-one-out);
Ahmadian et al. 2024 (arXiv 2402.14740).

One step of Adam an update, on whole episodes. Left out: a critic, several epochs (see ``agents.ppo``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.networks.episodes import make_engine
from agents.networks.residual import WeightAverage, for_evaluation, make_policy
from agents.run import Arguments, Run, learning_rate, parse, prepare, report, settings_of


@dataclass
class ReinforceArguments(Arguments):
    """REINFORCE. What is None depends on the kind of task: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes an update"""
    group: int | None = None
    """episodes of the same prompt, at least 2 (tasks without prompts: the whole batch)"""
    rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS = {
    "exact": {"batch": 32, "group": 32, "rate": 7e-3},
    "neural": {"batch": 64, "group": 4, "rate": 5e-4},
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


def train(args: ReinforceArguments) -> float | None:
    """Learn inside the token budget and evaluate; returns the score."""
    device = prepare(args)
    run = Run(args, "reinforce")
    settings = settings_of(args, run.row.tags, DEFAULTS)
    batch, group = int(settings["batch"]), int(settings["group"])
    if group < 2 or batch % group:
        raise ValueError(f"group must be at least 2 and divide batch {batch}, got {group}")
    task = run.task
    policy = make_policy(task, critic=False).to(device)
    engine = make_engine(task, batch, args.seed)
    generator = torch.Generator(device).manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    weights = policy.actor_weights()
    optimizer = torch.optim.Adam(weights, betas=(0.9, 0.99))
    average = WeightAverage(policy)
    every = torch.arange(batch, device=device)
    while run.left:
        prompts = np.repeat(rng.integers(0, len(task.prompts.tokens), batch // group), group)
        episodes = policy.write(engine, prompts, generator)
        paid = episodes.paid(task.kl_coef)
        to_go = paid.flip(1).cumsum(1).flip(1)
        advantages = leave_one_out(to_go, episodes.mask, group)
        for settings_of_group in optimizer.param_groups:
            settings_of_group["lr"] = learning_rate(settings["rate"], run.progress, args.warm_up)
        log_probs, _ = policy.scores(episodes, every)
        loss = -(advantages * log_probs).sum() / batch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, args.clip_norm)
        optimizer.step()
        if run.progress >= args.average_from:
            average.add()
        nats, returns = episodes.log_ratios.sum(1), episodes.rewards.sum(1)
        run.record(episodes.texts, returns, nats, episodes.metrics)
        run.step(
            episodes.steps, objective=task.kl_coef * paid.sum(1).mean(), reward=returns.mean(),
            kl=nats.mean(), gradient=norm,
        )  # fmt: skip
    average.apply()
    scored, features = for_evaluation(policy, run.evaluation_task)
    evaluation = run.finish(scored, features=features, weights=policy.state_dict())
    print(report(evaluation))
    return evaluation.score and evaluation.score.estimate


if __name__ == "__main__":
    train(parse(ReinforceArguments, __doc__, DEFAULTS))
