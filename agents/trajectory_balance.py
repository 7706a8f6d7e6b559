"""Trajectory balance: every text's log pi - log pi0 is regressed on its reward, on replayed texts, too.

    loss = mean (l - r / kl_coef + c)^2 / 2,      l = log pi - log pi0 of the whole text

pi* alone makes l - r / kl_coef one number for all texts of a prompt, -log Z, whatever they are drawn from. So
it is the fixed point of replayed texts as of the policy's own, where c is free to be log Z:

- group: the mean of r / kl_coef - l over the prompt's texts that are compared, without gradient. TBA trains
  with it (Bartoldson et al. 2025, arXiv 2503.18929), after VarGrad (Richter et al. 2020, arXiv 2010.10436),
  and the gradient is GVPO's, S ((l - mean l) - (r - mean r) / kl_coef) grad log pi (Zhang et al. 2025, arXiv
  2504.19599): the two are one.
- value: c = V* / kl_coef, V* = b log mean exp(r / b) of texts of pi0, before the training and for good: A*PO
  (Brantley et al. 2025, arXiv 2505.20686). With b other than kl_coef, or of few texts, c is not log Z. Of own
  texts that is but another baseline; under replay it is a bias, and the fixed point another than pi*.
- learned: log Z of each prompt moves with the same loss, as in GFlowNets (Malkin et al. 2022, arXiv
  2201.13259; of language models Hu et al. 2023, arXiv 2310.04363). Its step is 1 / visits, or ``value_rate``
  where that is more.

On the policy's own texts each has the expected gradient of leave-one-out REINFORCE with k1 in the reward, up
to scale: of (l - r / kl_coef + c) grad log pi the part with c is zero. Nothing is gained there, and something
is lost: a token answers for the whole text, and not for what comes after it. Gains must come from replay.
After the step on a batch that was just written come ``replays`` steps on texts of the last ``kept`` batches.
No text of a prompt is there twice, and they are drawn evenly, or by softmax(r / temperature), as TBA has it.

Replay needs that tokens decide what a text is worth, but for noise on the reward: where steps slip, or
replies or starts are drawn, no policy makes the error zero, and what is replayed would move the fixed point.
Of noisy rewards the draw by reward prefers lucky ones. Left out: losses of parts of texts (of GFlowNets),
asynchronous actors and the mix of new and old texts in one step (TBA), the choice of prompts (A*PO).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, Part, training_parts
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.replay import GroupedTexts, Replay, fresh
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task

BASELINES = ("group", "value", "learned")
DRAWS = ("even", "reward")


@dataclass
class TrajectoryBalanceArguments(NetworkArguments):
    """Trajectory balance. What is None depends on the kind of training: see ``DEFAULTS``."""

    baseline: str = "group"
    """where log Z comes from: group, value or learned"""
    value_ratio: float = 1.0
    """with the baseline value: b / kl_coef"""
    value_share: float = 0.1
    """with the baseline value: share of the tokens that is spent on texts of pi0"""
    value_rate: float = 0.05
    """with the baseline learned: the least step of log Z"""
    replays: int | None = None
    """steps on replayed texts after each step on new ones; by default 0 where tokens do not decide a text"""
    kept: int | None = None
    """batches that are replayed from"""
    draw: str = "even"
    """which texts are replayed: even or reward"""
    temperature: float = 4.0
    """with the draw by reward: of its softmax, in units of kl_coef"""
    batch: int | None = None
    """episodes per update, and texts per step"""
    group: int | None = None
    """episodes of the same prompt, at least 2"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"replays": 3, "kept": 16, "batch": 32, "group": 32, "learning_rate": 5e-3},
    "neural": {"replays": 2, "kept": 8, "batch": 64, "group": 8, "learning_rate": 5e-4},
    "neural-all": {"replays": 1, "kept": 8, "batch": 64, "group": 8, "learning_rate": 3e-4},
    "neural-lora": {"replays": 1, "kept": 8, "batch": 128, "group": 8, "learning_rate": 1e-3},
}


def means(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """The mean [count] of the values [M] of each group."""
    total, size = values.new_zeros(count), values.new_zeros(count)
    total.index_add_(0, groups, values)
    return total / size.index_add_(0, groups, torch.ones_like(values)).clamp_min(1)


class LogZ:
    """log Z of each prompt, nats, as a baseline has it.

    Args:
        kind: one of ``BASELINES``.
        prompts: P.
        rate: the least step where it is learnt.

    Attributes:
        values: float64 [P]; unused where it is the group's mean.
        visits: int64 [P], how often each was learnt.
    """

    def __init__(self, kind: str, prompts: int, rate: float) -> None:
        self.kind = kind
        self.rate = rate
        self.values = np.zeros(prompts)
        self.visits = np.zeros(prompts, dtype=np.int64)

    def of(self, error: Tensor, texts: GroupedTexts) -> Tensor:
        """log Z [M] for the texts; where it is learnt, it is as it was before them.

        Args:
            error: [M], l - r / kl_coef, nats.
            texts: whose they are.
        """
        middle = -means(error, texts.groups, len(texts.prompts))
        if self.kind == "group":
            return middle[texts.groups]
        found = torch.as_tensor(self.values[texts.prompts], dtype=error.dtype, device=error.device)
        if self.kind == "learned":
            new = torch.as_tensor(self.visits[texts.prompts] == 0, device=error.device)
            found = torch.where(new, middle, found)
            self._learn(middle.cpu().numpy(), texts.prompts)
        return found[texts.groups]

    def _learn(self, middle: NDArray[Any], prompts: NDArray[np.int64]) -> None:
        for prompt, value in zip(prompts.tolist(), middle.tolist()):
            self.visits[prompt] += 1
            step = max(1 / self.visits[prompt], self.rate)
            self.values[prompt] += step * (value - self.values[prompt])

    def state(self) -> dict[str, NDArray[Any]]:
        """For a checkpoint."""
        return {"values": self.values, "visits": self.visits}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Put a state back."""
        self.values, self.visits = state["values"], state["visits"]


def check(args: TrajectoryBalanceArguments, settings: Mapping[str, Any], task: Task) -> None:
    """Raise ValueError where arguments do not fit each other or the task."""
    batch, group = settings["batch"], settings["group"]
    if args.baseline not in BASELINES:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {args.baseline!r}")
    if args.draw not in DRAWS:
        raise ValueError(f"draw must be one of {', '.join(DRAWS)}, got {args.draw!r}")
    if group < 2 or batch % group:
        raise ValueError(f"group must be at least 2 and divide batch {batch}, got {group}")
    for name in ("value_ratio", "value_share", "value_rate", "temperature"):
        if not getattr(args, name) > 0:
            raise ValueError(f"{name} must be above 0, got {getattr(args, name)}")
    if args.baseline == "value" and task.exact is not None and task.exact.initial_policy is not None:
        raise ValueError(f"baseline must not be value on {task.id}: it needs texts of pi0 to begin with")
    replays, kept = settings["replays"], settings["kept"]
    if replays < 0 or kept < 1:
        raise ValueError(f"replays must be at least 0 and kept at least 1, got {replays} and {kept}")
    if replays and is_random(task):
        raise ValueError(
            f"replays must be 0 on {task.id}, got {replays}: replay needs that tokens decide what a text is "
            "worth, and here steps, replies or starts are drawn"
        )


def is_random(task: Task) -> bool:
    """Whether more than the tokens decides what a text is worth, but for noise on the reward."""
    return task.exact is not None and task.exact.random_beside_tokens


class TrajectoryBalance:
    """A policy, its optimizer, what is replayed, and the steps."""

    def __init__(self, args: TrajectoryBalanceArguments, training: Training, device: torch.device) -> None:
        self.args, self.training, self.task = args, training, training.task
        task = self.task
        self.settings = settings_of(args, task, DEFAULTS)
        if args.replays is None and is_random(task):
            self.settings["replays"] = 0
        check(args, self.settings, task)
        self.batch, self.group = int(self.settings["batch"]), int(self.settings["group"])
        trained = trained_by(args)
        self.policy = make_network(task, critic=False, observe=args.observe, trained=trained).to(device)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(
            self.weights, lr=self.settings["learning_rate"], betas=(0.9, 0.99), fused=True
        )
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.average = WeightAverage(self.policy)
        self.log_z = LogZ(args.baseline, len(task.prompts.tokens), args.value_rate)
        sharpness = 1 / (args.temperature * task.kl_coef) if args.draw == "reward" else 0.0
        self.replay = Replay(self.settings["kept"], sharpness)

    def parts(self) -> dict[str, Part]:
        """All that the next update depends on."""
        return {
            **training_parts(
                self.policy, [self.optimizer], self.average, self.generator, self.rng, self.engine
            ),
            "log Z": Part(self.log_z.state, self.log_z.restore),
            "replay": Part(
                self.replay.state, lambda state: self.replay.restore(state, self.generator.device)
            ),
        }

    def note(self, trajectories: Trajectories, **numbers: Any) -> None:
        """Count and record a batch that was written."""
        task, training = self.task, self.training
        nats, returns = trajectories.log_ratios.sum(1).mean(), trajectories.rewards.sum(1).mean()
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        training.note(objective=returns - task.kl_coef * nats, reward=returns, kl=nats, **numbers)

    def estimate_values(self) -> None:
        """log Z of each prompt as V* / kl_coef, from texts that the policy writes while it is pi0."""
        prompts, budget = len(self.task.prompts.tokens), self.args.value_share * self.training.budget
        each = int(budget / (prompts * self.task.horizon))
        if each < 1:
            raise ValueError(
                f"value_share must be enough for a text of each of {prompts} prompts, in all "
                f"{prompts * self.task.horizon} tokens, got {self.args.value_share}"
            )
        wanted = np.tile(np.arange(prompts), each)
        ratio, logits = self.args.value_ratio, np.full((prompts, each), -np.inf)
        for first in range(0, len(wanted), self.batch):
            some = np.arange(first, first + self.batch)
            trajectories = self.policy.write(self.engine, wanted[some % len(wanted)], self.generator)
            worth = trajectories.rewards.sum(1) / (ratio * self.task.kl_coef)
            kept = some[some < len(wanted)]  # the last lanes go round
            logits[kept % prompts, kept // prompts] = worth.cpu().numpy()[: len(kept)]
            self.note(trajectories)
        self.log_z.values = ratio * (np.logaddexp.reduce(logits, axis=1) - np.log(each))

    def step(self, texts: GroupedTexts, log_ratios: Tensor) -> tuple[Tensor, Tensor]:
        """One step on M texts; returns the mean loss and the gradient's norm.

        Args:
            texts: the texts.
            log_ratios: [M, T], log pi - log pi0 of their tokens under the present policy, nats.
        """
        error = self.errors(texts, log_ratios)
        self.optimizer.zero_grad(set_to_none=True)
        self.descend(texts.trajectories, error)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm)
        self.optimizer.step()
        return error.square().mean() / 2, norm

    def errors(self, texts: GroupedTexts, log_ratios: Tensor) -> Tensor:
        """l - r / kl_coef + c [M], nats, of M texts whose log pi - log pi0 is log_ratios [M, T]."""
        error = log_ratios.sum(1) - texts.trajectories.rewards.sum(1) / self.task.kl_coef
        return error + self.log_z.of(error, texts)

    def split(self, trajectories: Trajectories) -> tuple[Tensor, ...]:
        """The episodes in parts that are scored at once."""
        every = torch.arange(len(trajectories.mask), device=trajectories.mask.device)
        return self.policy.split(every, self.args.micro_batch)

    @torch.no_grad()
    def log_ratios(self, trajectories: Trajectories) -> Tensor:
        """log pi - log pi0 [M, T] of tokens under the present policy, nats."""
        found = [self.policy.scores(trajectories, part)[0] for part in self.split(trajectories)]
        return torch.cat(found) - (trajectories.log_probs - trajectories.log_ratios)

    def descend(self, trajectories: Trajectories, error: Tensor) -> None:
        """Add the gradient of the mean over texts of error^2 / 2, of errors [M] whose log Z has none."""
        for part in self.split(trajectories):
            log_probs, _ = self.policy.scores(trajectories, part)
            ((error[part][:, None] * log_probs).sum() / len(error)).backward()

    def update(self) -> None:
        """Write a batch, learn from it, and from texts that were written before."""
        training = self.training
        rate = scheduled(self.settings["learning_rate"], training.progress, self.args.warm_up)
        self.optimizer.param_groups[0]["lr"] = rate
        groups = self.batch // self.group
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), groups)
        trajectories = self.policy.write(self.engine, np.repeat(prompts, self.group), self.generator)
        loss, norm = self.step(fresh(trajectories, prompts), trajectories.log_ratios)
        if self.settings["replays"]:
            self.replay.add(trajectories, np.repeat(prompts, self.group))
            for texts in self.replay.draw(self.settings["replays"], groups, self.group, self.rng):
                self.step(texts, self.log_ratios(texts.trajectories))
        if training.progress >= self.args.average_from:
            self.average.add()
        self.note(trajectories, loss=loss, gradient=norm)


def learn(args: TrajectoryBalanceArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    learner = TrajectoryBalance(args, training, device)
    at_risk = learner.batch * training.task.horizon
    checkpoints = Checkpoints(args, training, learner.parts(), at_risk=at_risk)
    if args.baseline == "value" and not training.tokens:
        learner.estimate_values()
        checkpoints.save()
    while training.left:
        learner.update()
        checkpoints.save_if_due()
    checkpoints.save()
    learner.average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: TrajectoryBalanceArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "trajectory_balance")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(TrajectoryBalanceArguments, __doc__, DEFAULTS))))
