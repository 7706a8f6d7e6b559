"""Imitation of one's own best texts, round after round: the best of n, or all of them weighted.

In each round a writer (the policy as it is, or pi0) writes groups of texts of the same prompt, and the policy
takes steps up S_i w_i log pi(x_i), over a group of n texts with weights that sum to one:

    best        1 for the text that is worth most, shared where several are, 0 for the others (RAFT)
    weighted    exp(worth / kl_coef), over its sum (reward-weighted regression)

A text is worth r, or, penalised, r - kl_coef (log q - log pi0) with q its writer. Fixed points:

- penalised: pi*, by either choice. There every text is worth the same, and nowhere else.
- weighted, pi0 writes: pi*. (pi0's texts are penalised by nothing.) e^KL* texts tell as much as one of pi*.
- best, pi0 writes: the best of n of pi0, log n - (n - 1) / n nats away from it or less. Not pi*.
- not penalised, the policy writes: texts of the highest reward alone. Not pi*: only the budget ends it.

Where all texts of a group are worth the same the best tell nothing, and the group is left out: nobody drifts
where nothing is to be gained. Where the task itself draws (replies, slip, noise on the reward) luck is taken
for merit, and the fixed points are fond of it.

Sources: RAFT, Dong et al. 2023 (arXiv 2304.06767); reward-weighted regression, Peters and Schaal 2007;
advantages in its exponent, Peng et al. 2019, AWR (arXiv 1910.00177), here those of whole texts over their
group. Left out: AWR's critic and its replay, and training from scratch in each round.
"""

from __future__ import annotations

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
from klrl_envs import Evaluation, Task

CHOICES = ("best", "weighted")
WRITERS = ("policy", "reference")


@dataclass
class ExpertArguments(NetworkArguments):
    """Expert iteration. What is None depends on the kind of training: see ``DEFAULTS``."""

    imitate: str = "best"
    """best: the best text of each group; weighted: all, by the exponential of what they are worth"""
    writer: str = "policy"
    """policy: the policy as it is; reference: pi0 (or where the task has it start)"""
    penalised: bool = True
    """a text's worth is r - kl_coef (log q - log pi0), q its writer; else r"""
    batch: int | None = None
    """episodes per round"""
    group: int | None = None
    """episodes of the same prompt, at least 2: the n of the best of n"""
    minibatch: int | None = None
    """episodes per step of the optimizer"""
    epochs: int | None = None
    """passes over a round"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 64, "group": 4, "minibatch": 64, "epochs": 1, "learning_rate": 3e-3},
    "neural": {"batch": 64, "group": 4, "minibatch": 64, "epochs": 1, "learning_rate": 5e-4},
    "neural-all": {"batch": 64, "group": 4, "minibatch": 64, "epochs": 1, "learning_rate": 3e-4},
    "neural-lora": {"batch": 256, "group": 8, "minibatch": 256, "epochs": 1, "learning_rate": 1e-3},
}
TIES = 1e-4
"""Nats: texts whose worth differs by less are worth the same, as far as float32 tells."""


def weights_of(worth: Tensor, choice: str) -> Tensor:
    """What texts weigh [G, n]: a group's weights sum to one, or are zero where it tells nothing.

    Args:
        worth: of whole texts [G, n], of G prompts, nats.
        choice: one of ``CHOICES``.
    """
    if choice == "weighted":
        return worth.softmax(dim=1)
    best = (worth > worth.amax(dim=1, keepdim=True) - TIES).to(worth.dtype)
    told = (best.sum(dim=1, keepdim=True) < worth.shape[1]).to(worth.dtype)
    return told * best / best.sum(dim=1, keepdim=True)


class Imitator:
    """The policy, who writes for it, the optimizer and the update.

    Args:
        args: the agent's.
        task: what is played.
        device: of the networks.
    """

    def __init__(self, args: ExpertArguments, task: Task, device: torch.device) -> None:
        self.args, self.task = args, task
        self.settings = settings = settings_of(args, task, DEFAULTS)
        self.batch, self.group = int(settings["batch"]), int(settings["group"])
        if self.group < 2 or self.batch % self.group or self.batch % settings["minibatch"]:
            raise ValueError(
                f"group, at least 2, and minibatch must divide batch {self.batch}, "
                f"got {self.group} and {settings['minibatch']}"
            )
        for name, allowed in (("imitate", CHOICES), ("writer", WRITERS)):
            if getattr(args, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(args, name)!r}")
        own = args.writer == "policy"
        self.policy, *others = (
            make_network(task, critic=False, observe=args.observe, trained=trained_by(args)).to(device)
            for _ in range(1 if own else 2)
        )
        self.writer = self.policy if own else others[0]
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99), fused=True)

    def write(self) -> tuple[Trajectories, Tensor]:
        """A round of texts, and what each weighs [N], with the mean 1 where all groups tell something."""
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        texts = self.writer.write(self.engine, np.repeat(prompts, self.group), self.generator)
        worth = (
            texts.paid(self.task.kl_coef) if self.args.penalised else texts.rewards / self.task.kl_coef
        ).sum(1)
        return texts, self.group * weights_of(worth.view(-1, self.group), self.args.imitate).view(-1)

    def imitate(self, texts: Trajectories, weights: Tensor, index: Tensor) -> None:
        """Add the gradient of - mean w log pi over the episodes ``index``, in parts."""
        for part in self.policy.split(index[weights[index] > 0], self.args.micro_batch):
            log_probs = self.policy.scores(texts, part)[0].sum(1)
            (-(weights[part] * log_probs).sum() / len(index)).backward()

    def update(self, texts: Trajectories, weights: Tensor, progress: float) -> dict[str, float]:
        """Several passes over a round; returns what is worth noting."""
        self.optimizer.param_groups[0]["lr"] = scheduled(
            self.settings["learning_rate"], progress, self.args.warm_up
        )
        norms = []
        for _ in range(self.settings["epochs"]):
            order = torch.as_tensor(self.rng.permutation(self.batch), device=weights.device)
            for part in order.split(self.settings["minibatch"]):
                if not weights[part].any():
                    continue
                self.optimizer.zero_grad(set_to_none=True)
                self.imitate(texts, weights, part)
                norms.append(torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm).item())
                self.optimizer.step()
        return {"imitated": (weights > 0).float().mean().item(), "gradient": sum(norms) / max(len(norms), 1)}


def learn(args: ExpertArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    learner = Imitator(args, task, device)
    average = WeightAverage(learner.policy)
    parts = training_parts(
        learner.policy, [learner.optimizer], average, learner.generator, learner.rng, learner.engine
    )
    checkpoints = Checkpoints(args, training, parts, at_risk=learner.batch * task.horizon)
    while training.left:
        texts, weights = learner.write()
        numbers = learner.update(texts, weights, training.progress)
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


def train(args: ExpertArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "expert_iteration")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(ExpertArguments, __doc__, DEFAULTS))))
