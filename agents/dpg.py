"""Distributional policy gradient with a baseline (GDC++): the forward KL to pi* is descended.

    grad KL(pi* || pi) = -E_q [ (P / (Z q) - pi / q) grad log pi ],    P = pi0 exp(r / kl_coef)

of whole texts that a behaviour q writes. The first weight is that of pi*, the second is the baseline: on
average it adds nothing, and where pi is pi* each text's two weights are equal, so that nothing moves at all.
With q = pi it is 1. q is the policy as it was, and becomes the present policy where that is better: where
E_pi* (log pi - log q), of the latest batches, each judged before it is learnt from, is above zero. Z is a
moving mean of P / q by prompt, the batch's own texts in it, which bounds what one text weighs.

Fixed point: pi*. A batch without a text of high weight says little of pi*, and where pi0 hardly ever finds
what pays, most say little: that is the method's weakness beside the reverse KL. Where the task itself draws
(replies, slip, noise on the reward) the weights tilt its draws, too, and the fixed point is another: that of
kl_coef log E exp(r / kl_coef), which is fond of luck.

Sources: Parshakova, Andreoli and Dymetman 2019 (arXiv 1912.08517); Khalifa, Elsahar and Dymetman 2021, GDC
(arXiv 2012.11635); the baseline, Korbak et al. 2022 (arXiv 2206.00761). Left out: constraints in place of a
reward; the source judges by total variation or KL from pi* when q changes, here it is KL.
"""

from __future__ import annotations

import math
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
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task


@dataclass
class DPGArguments(NetworkArguments):
    """Distributional policy gradient. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt"""
    memory: int = 1024
    """texts of a prompt over which the mean that estimates Z goes, about"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 1.0
    """largest norm of a gradient, in nats"""
    average_from: float = 0.7
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {"batch": 64, "group": 64, "learning_rate": 3e-3},
    "neural": {"batch": 64, "group": 8, "learning_rate": 5e-4},
    "neural-all": {"batch": 64, "group": 8, "learning_rate": 3e-4},
    "neural-lora": {"batch": 256, "group": 8, "learning_rate": 1e-3},
}


FORGET = 0.5
"""What an earlier batch counts, beside the next one, in the judgement of who is better."""


class Normaliser:
    """Moving estimates of log Z by prompt, nats.

    Args:
        prompts: how many there are.
        memory: texts over which a mean goes, about.
    """

    def __init__(self, prompts: int, memory: int) -> None:
        self._memory = memory
        self._counts = np.zeros(prompts)
        self._log_z = np.full(prompts, -np.inf)

    def update(self, prompt: int, log_weights: NDArray[np.float64]) -> float:
        """log Z of a prompt, once log P/q [n] of n more of its texts are in."""
        self._counts[prompt] += len(log_weights)
        rate = len(log_weights) / min(self._counts[prompt], max(self._memory, len(log_weights)))
        own = np.logaddexp.reduce(log_weights) - math.log(len(log_weights))
        earlier = self._log_z[prompt] + (math.log1p(-rate) if rate < 1 else -math.inf)
        self._log_z[prompt] = np.logaddexp(earlier, own + math.log(rate))
        return float(self._log_z[prompt])

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What the estimates are."""
        return {"counts": self._counts, "log_z": self._log_z}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Put a state back."""
        self._counts, self._log_z = state["counts"].copy(), state["log_z"].copy()


class DPG:
    """A policy, the behaviour that writes for it, and the update.

    Args:
        args: the agent's.
        task: what is played.
        device: of the networks.
    """

    def __init__(self, args: DPGArguments, task: Task, device: torch.device) -> None:
        self.args, self.task = args, task
        settings = settings_of(args, task, DEFAULTS)
        self.batch, self.group = int(settings["batch"]), int(settings["group"])
        if self.group < 1 or self.batch % self.group:
            raise ValueError(f"group must divide batch {self.batch}, got {self.group}")
        if args.memory < 1:
            raise ValueError(f"memory must be at least 1, got {args.memory}")
        self.learning_rate = float(settings["learning_rate"])
        self.policy, self.behaviour = (
            make_network(task, critic=False, observe=args.observe, trained=trained_by(args)).to(device)
            for _ in range(2)
        )
        self.adopt()
        self.normaliser = Normaliser(len(task.prompts.tokens), args.memory)
        self.gain = 0.0
        self.engine = self.policy.engine(task, self.batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.weights = self.policy.actor_weights()
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99), fused=True)

    def adopt(self) -> None:
        """Let the behaviour be the present policy."""
        self.behaviour.load_state_dict(self.policy.trained_state(), strict=False)

    def write(self) -> tuple[Trajectories, Tensor]:
        """A batch of the behaviour's, and what each text weighs, P/(Z q) [N]."""
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), self.batch // self.group)
        texts = self.behaviour.write(self.engine, np.repeat(prompts, self.group), self.generator)
        log_weights = texts.paid(self.task.kl_coef).sum(1)
        groups = log_weights.view(-1, self.group).double().cpu().numpy()
        log_z = [
            self.normaliser.update(int(prompt), own) for prompt, own in zip(prompts, groups, strict=True)
        ]
        return texts, (log_weights - log_weights.new_tensor(log_z).repeat_interleave(self.group)).exp()

    def descend(self, texts: Trajectories, weights: Tensor) -> Tensor:
        """Add the gradient of KL(pi* || pi), texts [N] weighted [N], in parts.

        Returns log pi - log q [N], nats, of the policy as it is.
        """
        moved: list[Tensor] = []
        for part in self.policy.split(
            torch.arange(len(weights), device=weights.device), self.args.micro_batch
        ):
            log_probs = self.policy.scores(texts, part)[0].sum(1)
            apart = log_probs.detach() - texts.log_probs[part].sum(1)
            (-((weights[part] - apart.exp()) * log_probs).sum() / len(weights)).backward()
            moved.append(apart)
        return torch.cat(moved)

    def update(self, texts: Trajectories, weights: Tensor, progress: float) -> dict[str, Any]:
        """One step of the policy, and perhaps a new behaviour; returns what is worth noting."""
        self.optimizer.param_groups[0]["lr"] = scheduled(self.learning_rate, progress, self.args.warm_up)
        self.optimizer.zero_grad(set_to_none=True)
        moved = self.descend(texts, weights)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm)
        self.gain = FORGET * self.gain + (weights * moved).mean().item()
        better = self.gain > 0
        if better:
            self.gain = 0.0
            self.adopt()
        self.optimizer.step()
        effective = weights.sum().square() / weights.square().sum().clamp_min(1e-30)
        return {"effective": effective / len(weights), "adopted": better, "gradient": norm}


def learn(args: DPGArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task = training.task
    dpg = DPG(args, task, device)
    average = WeightAverage(dpg.policy)
    parts = training_parts(dpg.policy, [dpg.optimizer], average, dpg.generator, dpg.rng, dpg.engine)
    parts["behaviour"] = Part(
        dpg.behaviour.trained_state, lambda state: dpg.behaviour.load_state_dict(state, strict=False)
    )
    parts["normaliser"] = Part(dpg.normaliser.state, dpg.normaliser.restore)
    parts["gain"] = Part(lambda: dpg.gain, lambda gain: setattr(dpg, "gain", gain))
    checkpoints = Checkpoints(args, training, parts, at_risk=dpg.batch * task.horizon)
    while training.left:
        texts, weights = dpg.write()
        numbers = dpg.update(texts, weights, training.progress)
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
    training.describe(dpg.policy.observes, dpg.policy.trains)
    return dpg.policy


def train(args: DPGArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "dpg")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(DPGArguments, __doc__, DEFAULTS))))
