"""Twists of sequential Monte Carlo, learnt by contrast; the policy is the proposal that they make.

A twist psi_t(x_1..t) says of a text that has begun what its end will be worth, at best E_pi0[exp(r / kl_coef)
still to come]. Here it is made of what every agent with a critic has:

    log psi_t(x_1..t) = log pi(x_t|x_<t) - log pi0(x_t|x_<t) + c(x_<t)

so that the proposal pi0 psi_t / (its sum over the next token) is pi itself, and c the log of that sum. A text
that pi has written then weighs, as one of pi0 psi_t times what was paid before t,

    log W_t = c(x_<t) + S_{u<t} (r / kl_coef - (log pi - log pi0))_u

and, whole, log W = S_u (...)_u, as one of pi*. Contrastive twist learning goes up

    S_t ( E_pi* - E_{pi0 psi_t} ) grad log psi_t

with the group's texts weighted, W and W_t each normalised over the texts of a prompt, in place of both means.
Of the policy that is the forward KL(pi* || pi) with a baseline for every step, which the twist learns: where
all W_t are W, as at the optimum, no text moves anything. A policy that has moved since the text was written
has its ratio of probabilities beside W_t, so that several steps of a batch have no other fixed point.

With ``twist_lambda`` below 1 the policy has S_k (1 - lambda) lambda^k W_t+1+k for W, the nearest twists most,
as in generalised advantage estimation: less noise, and no bias where c is right. c always learns from W.

Fixed point: pi*, and c the optimal value over kl_coef up to a number for each prompt and step. A group of few
texts weighs by its own mean: the bias falls as 1 / group, and is none at pi*. Where the task itself draws
(replies, slip, noise on the reward) the weights tilt its draws, too, and the fixed point is another: that of
kl_coef log E exp(r / kl_coef), which is fond of luck.

Source: Zhao, Brekelmans, Makhzani and Grosse 2024 (arXiv 2404.17546), which has no lambda. Left out:
resampling in mid-text (texts are weighted to their end), exact draws of pi* where the source has them, and
particles in the evaluation: the policy is scored as it writes, by its own rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, training_parts
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task


@dataclass
class SMCArguments(NetworkArguments):
    """Contrastive twist learning. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt, at least 2, which are weighted against each other"""
    learning_rate: float | None = None
    """Adam's learning rate of the policy at its peak"""
    critic_learning_rate: float = 1e-3
    """the same of c"""
    pair_learning_rate: float = 1e-2
    """the same of the critic's numbers for pairs of tokens, each of which is seen rarely"""
    critic_steps: int = 4
    """steps of c per update"""
    policy_steps: int = 2
    """steps of the policy per update, each on the whole batch"""
    twist_lambda: float = 0.9
    """1 weighs a step of the policy by the whole text; less, by the twists after it, the nearest most"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 32, "group": 32, "learning_rate": 5e-3},
    "neural": {"batch": 64, "group": 8, "learning_rate": 5e-4},
    "neural-all": {"batch": 64, "group": 8, "learning_rate": 3e-4},
    "neural-lora": {"batch": 256, "group": 8, "learning_rate": 1e-3},
}


def contrast(
    paid: Tensor, sums: Tensor, mask: Tensor, group: int, twist_lambda: float = 1.0
) -> tuple[Tensor, Tensor]:
    """W and W_t of each step [N, T], zero after the end; each has the mean 1 over a group.

    Args:
        paid: [N, T], r / kl_coef - (log pi - log pi0) of each step, nats.
        sums: c [N, T] of the states in which the steps were taken, nats.
        mask: bool [N, T], the steps that were taken.
        group: episodes of a prompt, which stand together.
        twist_lambda: 1 for W; less for S_k (1 - lambda) lambda^k W_{t+1+k} in its place.
    """
    to_date = paid.cumsum(1)
    # a text that has ended weighs what it weighs whole
    log_weights = torch.where(mask, to_date - paid + sums, to_date)
    log_weights = torch.cat((log_weights, to_date[:, -1:]), dim=1).view(-1, group, paid.shape[1] + 1)
    weights = group * log_weights.softmax(dim=1).view(len(paid), -1)
    step = torch.arange(paid.shape[1], device=paid.device)
    ahead = step[:, None] - step
    decay = (twist_lambda ** ahead.clamp_min(0) * (ahead >= 0)).to(weights.dtype)
    begun = weights[:, :-1]
    return torch.where(mask, begun + weights.diff(dim=1) @ decay, 0.0), torch.where(mask, begun, 0.0)


class TwistLearner:
    """The policy, c, their optimizers and the update.

    Args:
        args: the agent's.
        task: what is played.
        device: of the networks.
    """

    def __init__(self, args: SMCArguments, task: Task, device: torch.device) -> None:
        self.args, self.task = args, task
        settings = settings_of(args, task, DEFAULTS)
        self.batch, self.group = int(settings["batch"]), int(settings["group"])
        if self.group < 2 or self.batch % self.group:
            raise ValueError(f"group must be at least 2 and divide batch {self.batch}, got {self.group}")
        self.policy = make_network(task, observe=args.observe, trained=trained_by(args)).to(device)
        self.weights = self.policy.actor_weights()
        self.optimizers: list[torch.optim.Optimizer] = [adam(self.weights, settings["learning_rate"])]
        sparse = {m.weight for m in self.policy.modules() if isinstance(m, nn.Embedding) and m.sparse}
        dense = [weight for weight in self.policy.critic_weights() if weight not in sparse]
        self.critic_optimizers: list[torch.optim.Optimizer] = [adam(dense, args.critic_learning_rate)]
        if sparse:
            self.critic_optimizers.append(torch.optim.SparseAdam(sparse, lr=args.pair_learning_rate))
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of the present policy."""
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        return self.policy.write(self.engine, np.repeat(prompts, self.group), self.generator)

    def sums(self, texts: Trajectories, index: Tensor) -> Tensor:
        """c [n, T] of the episodes ``index`` [n]: values are before the KL of the step itself, c is after."""
        return self.policy.values(texts, index) - texts.kl[index]

    def weigh(self, texts: Trajectories, twist_lambda: float = 1.0) -> tuple[Tensor, Tensor]:
        """See ``contrast``, of a batch, with c as it is."""
        with torch.no_grad():
            sums = self.sums(texts, torch.arange(len(texts.mask), device=texts.mask.device))
        return contrast(texts.paid(self.task.kl_coef), sums, texts.mask, self.group, twist_lambda)

    def parts(self, texts: Trajectories) -> tuple[Tensor, ...]:
        """A batch in parts, whose gradients are added."""
        index = torch.arange(len(texts.mask), device=texts.mask.device)
        return self.policy.split(index, self.args.micro_batch)

    def descend(self, texts: Trajectories, whole: Tensor, begun: Tensor) -> None:
        """Add the policy's gradient, of KL(pi* || pi), by W and W_t [N, T], in parts."""
        for part in self.parts(texts):
            log_probs, _ = self.policy.scores(texts, part)
            ratio = (log_probs - texts.log_probs[part]).exp()
            (-(whole[part] * log_probs - begun[part] * ratio).sum() / len(whole)).backward()

    def descend_sums(self, texts: Trajectories, whole: Tensor, begun: Tensor) -> None:
        """Add the gradient of c, likewise."""
        for part in self.parts(texts):
            counts = whole[part] - begun[part]
            (-(counts * self.sums(texts, part)).sum() / len(whole)).backward()

    def update(self, texts: Trajectories, progress: float) -> dict[str, Tensor]:
        """Some steps of c and of the policy; returns what is worth noting."""
        whole, begun = self.weigh(texts, self.args.twist_lambda)
        for _ in range(self.args.critic_steps):
            self.clear(self.critic_optimizers, progress)
            self.descend_sums(texts, *self.weigh(texts))
            for optimizer in self.critic_optimizers:
                optimizer.step()
        norms: list[Tensor] = []
        for _ in range(self.args.policy_steps):
            self.clear(self.optimizers, progress)
            self.descend(texts, whole, begun)
            norms.append(torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm))
            self.optimizers[0].step()
        shares = texts.paid(self.task.kl_coef).sum(1).view(-1, self.group).softmax(dim=1)
        effective = 1 / (self.group * shares.square().sum(1))
        spread = (whole - begun)[texts.mask].square().mean().sqrt()
        return {"effective": effective.mean(), "contrast": spread, "gradient": norms[0]}

    def clear(self, optimizers: list[torch.optim.Optimizer], progress: float) -> None:
        """No gradient, and the learning rate of the schedule."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = scheduled(optimizer.defaults["lr"], progress, self.args.warm_up)


def adam(weights: list[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """Adam whose second moment forgets a little faster than is usual."""
    return torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99), fused=True)


def learn(args: SMCArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    learner = TwistLearner(args, task, device)
    average = WeightAverage(learner.policy)
    optimizers = [*learner.optimizers, *learner.critic_optimizers]
    parts = training_parts(
        learner.policy, optimizers, average, learner.generator, learner.rng, learner.engine
    )
    checkpoints = Checkpoints(args, training, parts, at_risk=learner.batch * task.horizon)
    while training.left:
        texts = learner.write()
        numbers = learner.update(texts, training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = texts.log_ratios.sum(1), texts.rewards.sum(1)
        training.count(texts.steps)
        training.record(texts.episodes(training.tokens, task.kl_coef))
        objective = returns.mean() - task.kl_coef * nats.mean()
        training.note(objective=objective, reward=returns.mean(), kl=nats.mean(), **numbers)
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: SMCArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "smc")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(SMCArguments, __doc__, DEFAULTS))))
