"""Direct preference optimisation: texts are compared in pairs, and the policy learns who wins.

Of two texts x, y of a prompt, x is preferred with odds exp((r(x) - r(y)) / tau) (Bradley and Terry), drawn
once. With h = l(x) - l(y), l = log pi - log pi0 of a text, and c = kl_coef / tau, the winner first,

    DPO   - log sigmoid(c h)          IPO   (h - 2 tau / kl_coef)^2

Fixed point of DPO: pi*, whoever wrote the pairs, as c h is then the log-odds of the labels. Fixed point of
IPO: pi0 exp(4 tau p / kl_coef) / Z, p(x) the chance that x wins against a text of the writer. Its constant is
chosen here so that it is pi* to first order in (r(x) - r(y)) / tau: with a large tau it comes near, and
labels tell little; with a small one it stops short, where a text wins for sure.

Where the task itself draws (replies, slip, noise on the reward) labels tell of luck, too, and the fixed point
is another: what predicts them best.

The pairs are the present policy's (online) or pi0's (offline). Offline only what pi0 finds is compared, and
of what the policy comes to write nothing is said; online each update sees it. Every two texts of a group are
a pair, each is used in several epochs with the label that it has, and the tokens of all texts count.

Sources: Rafailov et al. 2023 (arXiv 2305.18290); IPO, Azar et al. 2023 (arXiv 2310.12036); online pairs, Guo
et al. 2024 (arXiv 2402.04792). Left out: a data set that is fixed before the training. Offline, pi0's texts
come in batch after batch, and each is dropped after its epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, training_parts
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task

LOSSES = ("dpo", "ipo")


@dataclass
class DPOArguments(NetworkArguments):
    """Preference optimisation. What is None depends on the kind of training: see ``DEFAULTS``."""

    loss: str = "dpo"
    """dpo or ipo"""
    online: bool = True
    """pairs of the present policy; else of pi0"""
    temperature: float = 1.0
    """tau of the labels, in multiples of kl_coef"""
    batch: int | None = None
    """episodes per batch"""
    group: int | None = None
    """episodes of the same prompt, at least 2, every two of which are a pair"""
    minibatch: int | None = None
    """episodes per step of the optimizer, whole groups"""
    epochs: int | None = None
    """passes over a batch"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 32, "group": 8, "minibatch": 32, "epochs": 2, "learning_rate": 4e-3},
    "neural": {"batch": 64, "group": 4, "minibatch": 64, "epochs": 1, "learning_rate": 5e-4},
    "neural-all": {"batch": 64, "group": 4, "minibatch": 64, "epochs": 1, "learning_rate": 3e-4},
    "neural-lora": {"batch": 256, "group": 8, "minibatch": 256, "epochs": 1, "learning_rate": 1e-3},
}


def compare(returns: Tensor, tau: float, generator: torch.Generator) -> Tensor:
    """Who wins: bool [G, n, n], whether the first of two texts is preferred; each pair is compared once.

    Args:
        returns: rewards of whole texts [G, n], of G prompts.
        tau: of Bradley and Terry, in units of reward.
        generator: draws.
    """
    odds = ((returns[:, :, None] - returns[:, None]) / tau).sigmoid()
    first = torch.rand(odds.shape, generator=generator, device=odds.device) < odds
    above = torch.ones_like(first).triu(1)
    return (first & above) | (~first & above).transpose(1, 2)


def preference_loss(log_ratios: Tensor, wins: Tensor, temperature: float, kind: str) -> Tensor:
    """The mean loss of all pairs, scaled so that no temperature changes the size of its gradient at pi0.

    Args:
        log_ratios: l of the texts [G, n], nats.
        wins: bool [G, n, n], as ``compare`` has them.
        temperature: tau / kl_coef.
        kind: one of ``LOSSES``.
    """
    apart = (log_ratios[:, :, None] - log_ratios[:, None])[wins]
    if kind == "ipo":
        return (apart - 2 * temperature).square().mean() / (4 * temperature)
    return -temperature * logsigmoid(apart / temperature).mean()


class PreferenceLearner:
    """The policy, who writes its pairs, the optimizer and the update.

    Args:
        args: the agent's.
        task: what is played.
        device: of the networks.
    """

    def __init__(self, args: DPOArguments, task: Task, device: torch.device) -> None:
        self.args, self.task = args, task
        self.settings = settings = settings_of(args, task, DEFAULTS)
        batch, group, minibatch = (int(settings[name]) for name in ("batch", "group", "minibatch"))
        if group < 2 or minibatch % group or batch % minibatch:
            raise ValueError(
                f"group must be at least 2 and divide minibatch {minibatch}, and that batch {batch}; "
                f"got {group}"
            )
        if args.loss not in LOSSES:
            raise ValueError(f"loss must be one of {LOSSES}, got {args.loss!r}")
        if not args.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {args.temperature}")
        self.batch, self.group, self.minibatch = batch, group, minibatch
        self.policy, *others = (
            make_network(task, critic=False, observe=args.observe, trained=trained_by(args)).to(device)
            for _ in range(1 if args.online else 2)
        )
        self.writer = self.policy if args.online else others[0]  # where no step was taken, pi0 stays
        self.engine = self.policy.engine(task, batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.weights = self.policy.actor_weights()
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99), fused=True)

    def write(self) -> tuple[Trajectories, Tensor]:
        """A batch of texts, and who wins of every two of a group, bool [G, n, n]."""
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        texts = self.writer.write(self.engine, np.repeat(prompts, self.group), self.generator)
        tau = self.args.temperature * self.task.kl_coef
        return texts, compare(texts.rewards.sum(1).view(-1, self.group), tau, self.generator)

    def loss(self, texts: Trajectories, wins: Tensor, groups: Tensor) -> Tensor:
        """The loss of the groups [m] of a batch."""
        index = (groups[:, None] * self.group + torch.arange(self.group, device=groups.device)).view(-1)
        reference = (texts.log_probs - texts.log_ratios)[index].sum(1)
        log_ratios = self.policy.scores(texts, index)[0].sum(1) - reference
        return preference_loss(
            log_ratios.view(-1, self.group), wins[groups], self.args.temperature, self.args.loss
        )

    def update(self, texts: Trajectories, wins: Tensor, progress: float) -> dict[str, float]:
        """Several passes over a batch; returns what is worth noting."""
        self.optimizer.param_groups[0]["lr"] = scheduled(
            self.settings["learning_rate"], progress, self.args.warm_up
        )
        losses, norms = [], []
        at_once = max(self.args.micro_batch // self.group, 1) if self.args.micro_batch else len(wins)
        for _ in range(self.settings["epochs"]):
            order = torch.as_tensor(self.rng.permutation(len(wins)), device=wins.device)
            for part in order.split(self.minibatch // self.group):
                self.optimizer.zero_grad(set_to_none=True)
                for some in part.split(at_once):
                    loss = self.loss(texts, wins, some) * (len(some) / len(part))
                    loss.backward()
                    losses.append(loss.item())
                norms.append(torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm).item())
                self.optimizer.step()
        return {"loss": sum(losses) / len(norms), "gradient": sum(norms) / len(norms)}


def learn(args: DPOArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    learner = PreferenceLearner(args, task, device)
    average = WeightAverage(learner.policy)
    parts = training_parts(
        learner.policy, [learner.optimizer], average, learner.generator, learner.rng, learner.engine
    )
    checkpoints = Checkpoints(args, training, parts, at_risk=learner.batch * task.horizon)
    while training.left:
        texts, wins = learner.write()
        numbers = learner.update(texts, wins, training.progress)
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


def train(args: DPOArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "dpo")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(DPOArguments, __doc__, DEFAULTS))))
