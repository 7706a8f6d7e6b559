"""PPO with the KL inside the return, gamma = 1, and advantages that are never normalised.

Rewards are in nats, r / kl_coef: one global scale, the same for every batch and prompt, so that the optimum
stays where it is. The KL to the reference is exact, over the whole vocabulary, in its two places:

    grad J / kl_coef = E S_t { grad log pi(a_t|s_t) [S_{t'>=t} r_t' / kl_coef - S_{t'>t} KL_t'] - grad KL_t }

A token is charged the KL of the states that it leads to, and the KL of its own state has its analytic
gradient (one without the other descends something else). That gradient pulls back every token of the
vocabulary, not only those that were sampled, and so undoes what drift the noise of the rest has caused.
Where pi0's rows would be too many to keep (language models with large vocabularies), the KL is k1, in the
return alone, of the token itself, too.

The critic is of this KL-penalised return, as generalised advantage estimation with lambda < 1 needs. Neural
texts are paid at their end, and heads have the whole return (lambda 1), which reaches the first token of any
text: on WordProblems-v0 they score .57 with ``--tokens 300000``, and .27 with ``--gae-lambda .95`` on top.
Short texts can do with less noise: Sentiment-v0 has .46 with ``--tokens 500000``, and .52 with ``--gae-lambda
.9 --batch 128`` on top, with which its row on the leaderboard was trained.

The policy starts at the reference (see ``agents.networks``), steps decay, and the last weights are averaged:
a step that is too large buys reward with needless KL, and the score shows it.
Sources: Schulman et al. 2016 (arXiv 1506.02438) and 2017 (arXiv 1707.06347); Ziegler et al. 2019 (arXiv
1909.08593).

Left out: an entropy bonus and an adaptive coefficient (either would be another objective), clipping of the
value loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class PPOArguments(NetworkArguments):
    """PPO. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt in a batch; each prompt is read once"""
    minibatch: int | None = None
    """episodes per step of the optimizer"""
    epochs: int | None = None
    """passes over a batch"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    critic_learning_rate: float = 1e-3
    """the same of the critic"""
    pair_learning_rate: float = 1e-2
    """the same of the critic's numbers for pairs of tokens, each of which is seen rarely"""
    critic_epochs: int = 4
    """passes of the critic over a batch"""
    gae_lambda: float | None = None
    """of generalised advantage estimation"""
    clip: float = 0.2
    """largest relative change of a token's probability that is rewarded"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient"""
    average_from: float = 0.85
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {
        "batch": 64,
        "group": 1,
        "minibatch": 32,
        "epochs": 2,
        "learning_rate": 3e-3,
        "gae_lambda": 0.95,
    },
    "neural": {
        "batch": 64,
        "group": 4,
        "minibatch": 32,
        "epochs": 2,
        "learning_rate": 5e-4,
        "gae_lambda": 1.0,
    },
    "neural-all": {
        "batch": 256,
        "group": 8,
        "minibatch": 128,
        "epochs": 2,
        "learning_rate": 1e-4,
        "gae_lambda": 0.95,
    },
    "neural-lora": {
        "batch": 256,
        "group": 8,
        "minibatch": 128,
        "epochs": 2,
        "learning_rate": 1e-3,
        "gae_lambda": 0.95,
    },
}


def advantages_of(paid: Tensor, values: Tensor, mask: Tensor, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates [N, T] of finished episodes, gamma = 1, nothing after the end.

    Args:
        paid: [N, T], what each step was worth.
        values: [N, T], of the states in which the steps were taken.
        mask: bool [N, T], the steps that were taken.
        gae_lambda: 1 is the whole return, 0 one step.
    """
    values = torch.where(mask, values, 0.0)
    following = torch.nn.functional.pad(values[:, 1:], (0, 1))
    delta = torch.where(mask, paid + following - values, 0.0)
    step = torch.arange(paid.shape[1], device=paid.device)
    ahead = step[:, None] - step
    return delta @ (gae_lambda ** ahead.clamp_min(0) * (ahead >= 0)).to(delta.dtype)


class PPO:
    """A policy, its optimizer, and the update."""

    def __init__(self, args: PPOArguments, task: Task, device: torch.device) -> None:
        self.args = args
        self.task = task
        self.settings = settings = settings_of(args, task, DEFAULTS)
        batch, group, minibatch = (settings[name] for name in ("batch", "group", "minibatch"))
        if batch % group or batch % minibatch:
            raise ValueError(f"group and minibatch must divide batch {batch}, got {group} and {minibatch}")
        trained = trained_by(args)
        self.policy: PolicyNetwork = make_network(task, observe=args.observe, trained=trained).to(device)
        self.optimizers = [adam(self.policy.actor_weights(), settings["learning_rate"])]
        sparse = {m.weight for m in self.policy.modules() if isinstance(m, nn.Embedding) and m.sparse}
        dense = [weight for weight in self.policy.critic_weights() if weight not in sparse]
        self.critic_optimizers: list[torch.optim.Optimizer] = [adam(dense, args.critic_learning_rate)]
        if sparse:
            self.critic_optimizers.append(torch.optim.SparseAdam(sparse, lr=args.pair_learning_rate))
        self.engine = self.policy.engine(task, batch, args.seed)
        self.device = device
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of episodes of the present policy."""
        count = self.settings["batch"] // self.settings["group"]
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), count)
        return self.policy.write(self.engine, np.repeat(prompts, self.settings["group"]), self.generator)

    @torch.no_grad()
    def estimates(self, trajectories: Trajectories) -> tuple[Tensor, Tensor]:
        """Advantages and the critic's targets [N, T], nats."""
        values = self.policy.values(trajectories, torch.arange(len(trajectories.mask), device=self.device))
        if trajectories.exact_kl:
            paid = trajectories.rewards / self.task.kl_coef
            paid[:, :-1] -= trajectories.kl[:, 1:]  # a token answers for the state that it leads to
        else:
            paid = trajectories.paid(self.task.kl_coef)
        advantages = advantages_of(paid, values, trajectories.mask, self.settings["gae_lambda"])
        return advantages, advantages + values

    def update(self, trajectories: Trajectories, progress: float) -> dict[str, float]:
        """Several passes over a batch of episodes; returns what is worth noting."""
        if progress == 0:
            self.policy.level(trajectories.paid(self.task.kl_coef).sum(dim=1))
        advantages, targets = self.estimates(trajectories)
        clipped = []
        for part in self.parts(self.settings["epochs"]):
            self.clear(self.optimizers, progress)
            for some in self.policy.split(part, self.args.micro_batch):
                loss, share = self.loss(trajectories, some, advantages[some])
                (loss * (len(some) / len(part))).backward()
                clipped.append(share)
            self.step(self.optimizers)
        for part in self.parts(self.args.critic_epochs):
            error, mask = self.policy.values(trajectories, part) - targets[part], trajectories.mask[part]
            self.clear(self.critic_optimizers, progress)
            (torch.where(mask, error, 0.0).square().sum() / mask.sum()).backward()
            self.step(self.critic_optimizers)
        mask = trajectories.mask
        unexplained = advantages[mask].var() / (targets[mask].var() + 1e-8)
        return {"clipped": torch.stack(clipped).mean().item(), "explained": 1 - unexplained.item()}

    def parts(self, epochs: int) -> Iterator[Tensor]:
        """Minibatches of trajectories, in a new order each epoch."""
        for _ in range(epochs):
            order = torch.as_tensor(self.rng.permutation(self.settings["batch"]), device=self.device)
            yield from order.split(self.settings["minibatch"])

    def loss(self, trajectories: Trajectories, part: Tensor, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss on the episodes ``part`` [n], and the share of tokens that were clipped.

        Before the first step its gradient is that of -J / kl_coef, up to what bfloat16 rounds off on CUDA,
        where the layers of a language model are read in it.
        """
        mask, clip = trajectories.mask[part], self.args.clip
        log_probs, kl = self.policy.scores(trajectories, part)
        # after the end the ratio is one, and advantage and KL are zero
        ratio = torch.where(mask, log_probs - trajectories.log_probs[part], 0.0).exp()
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
        clipped = ((ratio.detach() - 1).abs() > clip).sum() / mask.sum()
        return (torch.where(mask, kl, 0.0) - surrogate).sum() / len(part), clipped

    def clear(self, optimizers: Sequence[torch.optim.Optimizer], progress: float) -> None:
        """No gradient, and the learning rate of the schedule."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = scheduled(optimizer.defaults["lr"], progress, self.args.warm_up)

    def step(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """One step of optimizers, the gradient of the first clipped."""
        torch.nn.utils.clip_grad_norm_(optimizers[0].param_groups[0]["params"], self.args.clip_norm)
        for optimizer in optimizers:
            optimizer.step()


def adam(weights: Sequence[Tensor], learning_rate: float) -> torch.optim.Adam:
    """Adam whose second moment forgets a little faster than is usual."""
    return torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99), fused=True)


def learn(args: PPOArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    ppo = PPO(args, task, device)
    average = WeightAverage(ppo.policy)
    optimizers = [*ppo.optimizers, *ppo.critic_optimizers]
    parts = training_parts(ppo.policy, optimizers, average, ppo.generator, ppo.rng, ppo.engine)
    checkpoints = Checkpoints(args, training, parts, at_risk=ppo.engine.lanes * task.horizon)
    while training.left:
        trajectories = ppo.write()
        numbers = ppo.update(trajectories, training.progress)
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
    training.describe(ppo.policy.observes, ppo.policy.trains)
    return ppo.policy


def train(args: PPOArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "ppo")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(PPOArguments, __doc__, DEFAULTS))))
