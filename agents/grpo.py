"""GRPO and its family: one clipped loss whose switches are what the papers differ in.

A text's advantage A is what its reward has beyond its group's mean, and rho = pi / pi_old of a token:

    loss = mean of  - min(rho A, clip(rho) A)  [ + kl_coef (e^-l - 1 + l) ],   l = log pi - log pi0

``--loss`` names a row of ``VARIANTS``; each of its switches can be given beside it.

- grpo: A over the group's standard deviation, a mean over each text's tokens and then over texts, k3 in the
  loss. Shao et al. 2024 (arXiv 2402.03300).
- dr_grpo: no deviation, a mean over the longest length. No KL. Liu et al. 2025 (arXiv 2503.20783).
- dapo: a mean over all tokens, a clip higher above. No KL. Yu et al. 2025 (arXiv 2503.14476).
- gspo: the ratio of whole texts, to the power of one over their length. No KL. Zheng et al. 2025 (arXiv
  2507.18071).
- cispo: the clipped ratio is a weight without gradient. No KL. MiniMax 2025 (arXiv 2506.13585).
- corrected: k1 of the whole text in the reward, no deviation, the longest length.

Where they end, on texts of their own: only the corrected one at pi*, as its first gradient is that of J. k3
in the loss descends KL(pi0 || pi) at each visited state and sees no KL to come: with X what a token leads to,
pi = kl_coef pi0 / (lambda - X). A KL of 0 leaves the reward alone, whose maximisers are many. Division by the
deviation makes a coefficient kl_coef sd(r) of every prompt's own where the KL is in the loss; where it is in
the reward it is divided, too, which moves no end of large groups, but has noise alone move the policy near
pi*. A mean over each text's tokens has tokens of short texts weigh more: another objective where lengths
differ. The mean over all tokens is one constant in large batches.

All losses are divided by kl_coef, one constant of a training, so that norms are nats per token. Beyond the
sources: steps decay and the last weights are averaged, as of the other agents. Left out: DAPO's choice of
prompts and its price of length, CISPO's lower bound (its upper one, not published, is 5 here), rewards of
steps, a reference that is moved to the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, training_parts
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task

SMALL = 1e-6
"""Beside a standard deviation."""


@dataclass(frozen=True)
class Variant:
    """A loss of the family.

    Attributes:
        ratio: "token", or "text" for that of whole texts to the power of one over their length.
        clip_low, clip_high: the ratio is held between 1 - clip_low and 1 + clip_high.
        stopped: the ratio that is held is a weight of log pi, without gradient.
        mean: "texts" (over each text's tokens, then over texts), "tokens" (over all) or "longest" (sums
            over the horizon).
        scale: "group" where advantages are divided by the group's standard deviation, else "none".
        kl: "loss" (k3, with its gradient), "reward" (k1 of the whole text, without) or "none".
    """

    ratio: str = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    stopped: bool = False
    mean: str = "texts"
    scale: str = "group"
    kl: str = "none"


VARIANTS = {
    "grpo": Variant(kl="loss"),
    "dr_grpo": Variant(mean="longest", scale="none"),
    "dapo": Variant(clip_high=0.28, mean="tokens"),
    "gspo": Variant(ratio="text", clip_low=3e-4, clip_high=4e-4),
    "cispo": Variant(clip_low=1.0, clip_high=5.0, stopped=True, mean="tokens"),
    "corrected": Variant(mean="longest", scale="none", kl="reward"),
}
CHOICES = {
    "ratio": ("token", "text"),
    "mean": ("texts", "tokens", "longest"),
    "scale": ("group", "none"),
    "kl": ("loss", "reward", "none"),
}


@dataclass
class GRPOArguments(NetworkArguments):
    """GRPO. What is None depends on the kind of training, see ``DEFAULTS``, or on the loss."""

    loss: str = "grpo"
    """grpo, dr_grpo, dapo, gspo, cispo or corrected"""
    ratio: str | None = None
    """token or text; by default the loss's own, as of all switches down to kl"""
    clip_low: float | None = None
    """how far below 1 a ratio counts"""
    clip_high: float | None = None
    """how far above 1 a ratio counts"""
    mean: str | None = None
    """texts, tokens or longest"""
    scale: str | None = None
    """group (divide advantages by the group's standard deviation) or none"""
    kl: str | None = None
    """loss (k3), reward (k1) or none"""
    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt, at least 2"""
    minibatch: int | None = None
    """episodes per step of the optimizer"""
    epochs: int = 1
    """passes over a batch"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 0.1
    """largest norm of a gradient, in nats per token"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 64, "group": 32, "minibatch": 32, "learning_rate": 5e-3},
    "neural": {"batch": 128, "group": 8, "minibatch": 64, "learning_rate": 5e-4},
    "neural-all": {"batch": 128, "group": 8, "minibatch": 64, "learning_rate": 3e-4},
    "neural-lora": {"batch": 256, "group": 8, "minibatch": 128, "learning_rate": 1e-3},
}


def variant_of(args: GRPOArguments) -> Variant:
    """The loss that the arguments name, with the switches that are given beside it."""
    if args.loss not in VARIANTS:
        raise ValueError(f"loss must be one of {', '.join(VARIANTS)}, got {args.loss!r}")
    names = (item.name for item in fields(Variant))
    given = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    for name, allowed in CHOICES.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {given[name]!r}")
    variant = replace(VARIANTS[args.loss], **given)
    if variant.clip_low < 0 or variant.clip_high < 0:
        bounds = f"{variant.clip_low} and {variant.clip_high}"
        raise ValueError(f"clip_low and clip_high must be at least 0, got {bounds}")
    return variant


def advantages_of(
    variant: Variant, rewards: Tensor, log_ratios: Tensor, group: int, kl_coef: float
) -> Tensor:
    """Advantages [N] of texts that stand group by group.

    Args:
        variant: says whether they hold the KL, and whether they are divided.
        rewards: [N], of whole texts.
        log_ratios: [N], log pi - log pi0 of whole texts, nats, under the policy that wrote them.
        group: texts of one prompt.
        kl_coef: reward per nat.
    """
    worth = rewards - kl_coef * log_ratios.detach() if variant.kl == "reward" else rewards
    rows = worth.reshape(-1, group)
    away = rows - rows.mean(dim=1, keepdim=True)
    if variant.scale == "group":
        away = away / (rows.std(dim=1, keepdim=True) + SMALL)
    return away.reshape(-1)


def weights_of(variant: Variant, mask: Tensor, longest: int) -> Tensor:
    """What each token of a minibatch counts [N, T], zero after the end; mask [N, T]."""
    there = mask.to(torch.get_default_dtype())
    if variant.mean == "texts":
        return there / (there.sum(dim=1, keepdim=True) * len(there))
    return there / (there.sum() if variant.mean == "tokens" else longest * len(there))


def loss_of(
    variant: Variant,
    log_probs: Tensor,
    old_log_probs: Tensor,
    reference_log_probs: Tensor,
    mask: Tensor,
    weights: Tensor,
    advantages: Tensor,
    kl_coef: float,
) -> Tensor:
    """The loss of texts, or of a part of a minibatch's, whose losses are added.

    Args:
        variant: which one.
        log_probs: [n, T], of the policy that is trained, with gradient, nats; as the next two anything after
            the end.
        old_log_probs, reference_log_probs: [n, T], of the policy that wrote and of pi0.
        mask: bool [n, T].
        weights: [n, T], as ``weights_of`` says.
        advantages: [n], without gradient.
        kl_coef: reward per nat.
    """
    moved = torch.where(mask, log_probs - old_log_probs, 0.0)
    if variant.ratio == "text":
        moved = (moved.sum(dim=1) / mask.sum(dim=1))[:, None].expand_as(moved)
    ratio, worth = moved.exp(), advantages[:, None]
    held = ratio.clamp(1 - variant.clip_low, 1 + variant.clip_high)
    if variant.stopped:
        values = -held.detach() * worth * torch.where(mask, log_probs, 0.0)
    else:
        values = -torch.minimum(ratio * worth, held * worth)
    if variant.kl == "loss":
        nats = torch.where(mask, log_probs - reference_log_probs, 0.0)
        values = values + kl_coef * (torch.expm1(-nats) + nats)
    return (values * weights).sum()


class GRPO:
    """A policy, its optimizer, and the update."""

    def __init__(self, args: GRPOArguments, task: Task, device: torch.device) -> None:
        self.args = args
        self.task = task
        self.variant = variant_of(args)
        self.settings = settings_of(args, task, DEFAULTS)
        self.batch, self.group, self.minibatch = (
            int(self.settings[name]) for name in ("batch", "group", "minibatch")
        )
        if self.group < 2 or self.batch % self.group:
            raise ValueError(f"group must be at least 2 and divide batch {self.batch}, got {self.group}")
        if self.batch % self.minibatch:
            raise ValueError(f"minibatch must divide batch {self.batch}, got {self.minibatch}")
        if args.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {args.epochs}")
        trained = trained_by(args)
        self.policy = make_network(task, critic=False, observe=args.observe, trained=trained).to(device)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(
            self.weights, lr=self.settings["learning_rate"], betas=(0.9, 0.99), fused=True
        )
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.device = device
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of episodes of the present policy."""
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        return self.policy.write(self.engine, np.repeat(prompts, self.group), self.generator)

    def advantages(self, trajectories: Trajectories) -> Tensor:
        """Of a batch that was just written, [N]."""
        rewards, nats = trajectories.rewards.sum(1), trajectories.log_ratios.sum(1)
        return advantages_of(self.variant, rewards, nats, self.group, self.task.kl_coef)

    def update(self, trajectories: Trajectories, progress: float) -> dict[str, Any]:
        """One or more passes over a batch of episodes; returns what is worth noting."""
        advantages = self.advantages(trajectories)
        rate = scheduled(self.settings["learning_rate"], progress, self.args.warm_up)
        self.optimizer.param_groups[0]["lr"] = rate
        norms = []
        for part in self.parts():
            self.optimizer.zero_grad(set_to_none=True)
            weights = weights_of(self.variant, trajectories.mask[part], self.task.horizon)
            for place in self.policy.split(
                torch.arange(len(part), device=self.device), self.args.micro_batch
            ):
                self.descend(trajectories, part[place], weights[place], advantages)
            norms.append(torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm))
            self.optimizer.step()
        return {"gradient": torch.stack(norms).mean()}

    def parts(self) -> Iterator[Tensor]:
        """Minibatches of episodes, in a new order each epoch."""
        for _ in range(self.args.epochs):
            order = torch.as_tensor(self.rng.permutation(self.batch), device=self.device)
            yield from order.split(self.minibatch)

    def descend(self, trajectories: Trajectories, index: Tensor, weights: Tensor, advantages: Tensor) -> None:
        """Add the gradient of the loss of the episodes ``index`` [n] over kl_coef; weights [n, T]."""
        log_probs, _ = self.policy.scores(trajectories, index)
        old = trajectories.log_probs[index]
        loss = loss_of(
            self.variant, log_probs, old, old - trajectories.log_ratios[index], trajectories.mask[index],
            weights, advantages[index], self.task.kl_coef,
        )  # fmt: skip
        (loss / self.task.kl_coef).backward()


def learn(args: GRPOArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    grpo = GRPO(args, task, device)
    average = WeightAverage(grpo.policy)
    parts = training_parts(grpo.policy, [grpo.optimizer], average, grpo.generator, grpo.rng, grpo.engine)
    checkpoints = Checkpoints(args, training, parts, at_risk=grpo.batch * task.horizon)
    while training.left:
        trajectories = grpo.write()
        numbers = grpo.update(trajectories, training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1), trajectories.rewards.sum(1)
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        objective = returns.mean() - task.kl_coef * nats.mean()
        training.note(objective=objective, reward=returns.mean(), kl=nats.mean(), **numbers)
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(grpo.policy.observes, grpo.policy.trains)
    return grpo.policy


def train(args: GRPOArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "grpo")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(GRPOArguments, __doc__, DEFAULTS))))
