"""The reward hidden: a discriminator learns what texts of pi* have that the agent's lack, and pays for it.

The agent is shown some texts of pi*, which the library draws, and no reward. In turn

1. the discriminator D, a logistic regression between texts of pi* and the agent's own latest, learns

       logit D(x) = f(x) - (log pi - log pi0)(x)

   The agent's own log-ratio is known and need not be learnt: at the optimum of this loss f is log pi* - log
   pi0 = r / kl_coef - log Z whatever pi is, so that f stays where it is while the agent moves.
2. the agent takes a step of leave-one-out REINFORCE on f - (log pi - log pi0), which is the objective with f
   for r / kl_coef, whose optimum is pi*.

What f cannot read of a text (here: distinct tokens, pairs of neighbours, the length) it cannot pay, and of a
few texts it learns by heart what sets them apart: both show in the score, which is the task's own.

Sources: Goodfellow et al. 2014 (arXiv 1406.2661); Ho and Ermon 2016, GAIL (arXiv 1606.03476); a discriminator
that contains the policy, Fu et al. 2018, AIRL (arXiv 1710.11248), equation 4; texts, Yu et al. 2017, SeqGAN
(arXiv 1609.05473). Left out: rewards of parts of texts, and any critic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

import klrl_envs
from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, Part, training_parts
from agents.networks.judge import Judge
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories, last_steps
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task


@dataclass
class AdversarialArguments(NetworkArguments):
    """Learning from texts of pi*. What is None depends on the kind of training: see ``DEFAULTS``."""

    shown: int | None = None
    """texts of pi* that are shown; on a neural task each takes hundreds of texts of pi0"""
    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt, at least 2 (tasks without prompts: the whole batch)"""
    learning_rate: float | None = None
    """Adam's learning rate of the policy at its peak"""
    judge_learning_rate: float = 3e-3
    """the same of the discriminator"""
    judge_steps: int = 2
    """steps of the discriminator per update, each on the whole batch and as many texts of pi*"""
    decay: float = 1e-3
    """of the discriminator's weights, per step and unit of learning rate"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"shown": 16_384, "batch": 64, "group": 64, "learning_rate": 5e-3},
    "neural": {"shown": 512, "batch": 64, "group": 4, "learning_rate": 5e-4},
    "neural-all": {"shown": 512, "batch": 64, "group": 4, "learning_rate": 3e-4},
    "neural-lora": {"shown": 512, "batch": 256, "group": 8, "learning_rate": 1e-3},
}


class Adversary:
    """The policy, the discriminator, and the texts of pi*.

    Args:
        args: the agent's.
        task: what is played.
        device: of the networks.
    """

    def __init__(self, args: AdversarialArguments, task: Task, device: torch.device) -> None:
        self.args, self.task = args, task
        settings = settings_of(args, task, DEFAULTS)
        self.batch, self.group = int(settings["batch"]), int(settings["group"])
        if self.group < 2 or self.batch % self.group:
            raise ValueError(f"group must be at least 2 and divide batch {self.batch}, got {self.group}")
        self.count = int(settings["shown"])
        if self.count < self.batch:
            raise ValueError(f"shown must be at least batch {self.batch}, got {self.count}")
        self.learning_rate = float(settings["learning_rate"])
        trained = trained_by(args)
        self.policy: PolicyNetwork = make_network(task, critic=False, observe=args.observe, trained=trained)
        self.policy.to(device)
        self.judge = Judge(task).to(device)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99), fused=True)
        self.judge_optimizer = torch.optim.AdamW(
            self.judge.parameters(), lr=args.judge_learning_rate, betas=(0.9, 0.99), weight_decay=args.decay
        )
        self.shown = self.texts_of_the_optimum()

    def texts_of_the_optimum(self) -> list[Trajectories]:
        """Batches of texts of pi*, as this policy reads them. Nobody is paid for them."""
        rng = np.random.default_rng((self.args.seed, 2))
        batches: list[Trajectories] = []
        with klrl_envs.ledger.counting_as("evaluation"):
            engine = self.policy.engine(self.task, self.batch, self.args.seed)
            shape = (self.count // self.batch, self.batch)
            numbers = rng.integers(0, len(self.task.prompts.tokens), shape)
            with tqdm(total=numbers.size, desc="texts of pi*", unit="text") as bar:
                texts = klrl_envs.draw_optimal(self.task, numbers.reshape(-1), rng, progress=bar.update)
            for prompts, given in zip(numbers, texts.reshape(*shape, -1), strict=True):
                batches.append(self.policy.write(engine, prompts, self.generator, given))
        return batches

    def write(self) -> Trajectories:
        """A batch of the present policy."""
        numbers = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        return self.policy.write(self.engine, np.repeat(numbers, self.group), self.generator)

    def discriminate(self, written: Trajectories) -> float:
        """Some steps of the discriminator; returns how often it was right before them."""
        right: list[Tensor] = []
        for _ in range(self.args.judge_steps):
            shown = self.shown[int(self.rng.integers(len(self.shown)))]
            with torch.no_grad():
                every = torch.arange(self.batch, device=written.mask.device)
                reference = (shown.log_probs - shown.log_ratios).sum(1)
                nats = self.policy.scores(shown, every)[0].sum(1) - reference
            theirs = self.judge(shown.tokens) - nats
            own = self.judge(written.tokens) - written.log_ratios.sum(1)
            right.append(((theirs > 0).float().mean() + (own < 0).float().mean()) / 2)
            self.judge_optimizer.zero_grad(set_to_none=True)
            (softplus(-theirs).mean() + softplus(own).mean()).backward()
            self.judge_optimizer.step()
        return right[0].item()

    @torch.no_grad()
    def advantages(self, written: Trajectories) -> Tensor:
        """[N, T], nats: what the discriminator pays at the end less the log-ratios to come, less the same of
        the group's other episodes.
        """
        paid = last_steps(written.mask) * self.judge(written.tokens)[:, None] - written.log_ratios
        to_go = (paid.flip(1).cumsum(1).flip(1) * written.mask).view(-1, self.group, paid.shape[1])
        there = written.mask.view(to_go.shape).to(to_go.dtype)
        others = (to_go.sum(1, keepdim=True) - to_go) / (there.sum(1, keepdim=True) - there).clamp_min(1)
        return ((to_go - others) * there).view(paid.shape)

    def descend(self, written: Trajectories, advantages: Tensor, progress: float) -> Tensor:
        """One step of the policy; returns the norm of its gradient."""
        self.optimizer.param_groups[0]["lr"] = scheduled(self.learning_rate, progress, self.args.warm_up)
        self.optimizer.zero_grad(set_to_none=True)
        every = torch.arange(len(advantages), device=advantages.device)
        for part in self.policy.split(every, self.args.micro_batch):
            log_probs, _ = self.policy.scores(written, part)
            (-(advantages[part] * log_probs).sum() / len(advantages)).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm)
        self.optimizer.step()
        return norm


def learn(args: AdversarialArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    adversary = Adversary(args, task, device)
    average = WeightAverage(adversary.policy)
    optimizers = [adversary.optimizer, adversary.judge_optimizer]
    parts = training_parts(
        adversary.policy, optimizers, average, adversary.generator, adversary.rng, adversary.engine
    )
    parts["judge"] = Part(adversary.judge.state_dict, adversary.judge.load_state_dict)
    checkpoints = Checkpoints(args, training, parts, at_risk=adversary.batch * task.horizon)
    while training.left:
        written = adversary.write()
        right = adversary.discriminate(written)
        norm = adversary.descend(written, adversary.advantages(written), training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = written.log_ratios.sum(1), written.rewards.sum(1)
        training.count(written.steps)
        training.record(written.episodes(training.tokens, task.kl_coef))
        objective = returns.mean() - task.kl_coef * nats.mean()
        training.note(
            objective=objective, reward=returns.mean(), kl=nats.mean(), told_apart=right, gradient=norm
        )
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(
        f"{adversary.policy.observes}, {adversary.count:,} texts of pi*", adversary.policy.trains
    )
    return adversary.policy


def train(args: AdversarialArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "adversarial")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(AdversarialArguments, __doc__, DEFAULTS))))
