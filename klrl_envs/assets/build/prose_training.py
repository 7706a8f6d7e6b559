"""The training of ``prose``: one text a row, batches of texts of like length, resumable at any moment.

Muon for the matrices of the blocks and AdamW for the rest; a cosine to zero. One seed decides all but
rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from klrl_envs.assets.build.examples import Encoded, batches
from klrl_envs.assets.build.learner import Learner
from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.transformer import with_start

SEED = 0
BATCH_TOKENS = 4_096
WARMUP = 50
MATRIX_LEARNING_RATE = 0.02
OTHER_LEARNING_RATE = 3e-3
CHECKPOINT_SECONDS = 300
MEASURED = 24
"""Held-out examples of each kind that a row of the log is measured on."""


@dataclass(frozen=True)
class Settings:
    """Of a run.

    Attributes:
        shape: of the network.
        tokens: that it reads.
        seed: of weights and order.
        folder: of checkpoint and log.
    """

    shape: NanoConfig
    tokens: int
    seed: int
    folder: Path


def factor(step: int, steps: int) -> float:
    """Of the learning rates: a linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / WARMUP) * (1 + cos(pi * step / steps)) / 2


def losses(model: Nano, tokens: Tensor, weights: Tensor) -> Tensor:
    """-log pi [M] in nats of the tokens [B, L] of which the weight is not zero, in their order."""
    chosen = weights.flatten() > 0
    hidden = model.hidden(with_start(tokens)[:, :-1]).flatten(0, 1)[chosen]
    return F.cross_entropy(model.unembed(hidden).float(), tokens.flatten()[chosen], reduction="none")


def weighted_loss(model: Nano, data: Encoded, chosen: IntArray) -> Tensor:
    """The mean of the losses of some examples by the weights of their tokens."""
    tokens, weights = (torch.as_tensor(each) for each in data.padded(chosen))
    weight = weights[weights > 0]
    return (losses(model, tokens, weights) * weight).sum() / weight.sum()


@torch.no_grad()
def held_out_losses(model: Nano, data: Encoded, most: int) -> dict[str, float]:
    """Nats a token of held-out answers (of prose the whole text), end token included, by kind.

    Unknown words are left out; at most ``most`` examples of a kind are measured, always the same ones.
    """
    result: dict[str, float] = {}
    for number, kind in enumerate(data.kinds):
        members = np.flatnonzero((data.kind == number) & data.held_out)
        members = np.random.default_rng(SEED).permutation(members)[:most]
        total, count = 0.0, 0
        for first in range(0, len(members), 32):
            tokens, weights = data.padded(members[first : first + 32])
            written = np.arange(tokens.shape[1], dtype=np.int64)
            weights = weights * (written >= data.prompts[members[first : first + 32]][:, None])
            found = losses(model, torch.as_tensor(tokens), torch.as_tensor(weights))
            total, count = total + float(found.double().sum()), count + len(found)
        if count:
            result[kind] = round(total / count, 4)
    return result


def bfloat16_gains() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32, measured on small ones: one
    without units for it takes a hundred times as long.
    """
    seconds: list[float] = []
    for kind in (torch.float32, torch.bfloat16):
        left, right = torch.ones(1024, 512, dtype=kind), torch.ones(512, 1024, dtype=kind)
        for _ in range(2):  # the first is not counted
            began = time.perf_counter()
            _ = left @ right
            seconds.append(time.perf_counter() - began)
    return seconds[3] < seconds[1]


class Run:
    """A training that goes on where its checkpoint is.

    Args:
        settings: of the run.
        data: the examples, those that are held out among them.
    """

    def __init__(self, settings: Settings, data: Encoded) -> None:
        self.settings, self.data = settings, data
        checkpoint = settings.folder / "prose.checkpoint.pt"
        self.learner = Learner(
            settings.shape, settings.seed, MATRIX_LEARNING_RATE, OTHER_LEARNING_RATE, checkpoint
        )
        kept = self.learner.kept
        if kept.get("tokens", settings.tokens) != settings.tokens:
            raise ValueError(f"{checkpoint} is of a run of {kept['tokens']} tokens, not {settings.tokens}")
        self.batches = batches(data, settings.tokens, BATCH_TOKENS, settings.seed)
        self.seconds: float = kept.get("seconds", 0.0)
        self.bfloat16: bool = kept["bfloat16"] if kept else bfloat16_gains()

    @property
    def model(self) -> Nano:
        """The network as it is now."""
        return self.learner.model

    @property
    def step(self) -> int:
        """Steps that were taken."""
        return self.learner.step

    def train(self, report: Callable[[Mapping[str, object]], None]) -> Nano:
        """Train to the end; ``report`` gets a row of the log at every checkpoint."""
        sizes = [int(self.data.lengths[batch].sum()) for batch in self.batches]
        done = sum(sizes[: self.step])
        bar = tqdm(total=sum(sizes), initial=done, desc="prose", unit="token", unit_scale=True)
        since, recent = time.perf_counter(), list[float]()
        while self.step < len(self.batches):
            size = sizes[self.step]
            recent.append(self._learn(self.batches[self.step]))
            bar.update(size)
            done += size
            passed = time.perf_counter() - since
            if passed > CHECKPOINT_SECONDS or self.step == len(self.batches):
                self.seconds += passed
                held = held_out_losses(self.model, self.data, MEASURED)
                row = {"step": self.step, "tokens": done, "seconds": round(self.seconds, 1)}
                report({**row, "loss": round(float(np.mean(recent)), 4), "held_out": held})
                self.learner.save(seconds=self.seconds, bfloat16=self.bfloat16, tokens=self.settings.tokens)
                since, recent = time.perf_counter(), []
        bar.close()
        return self.model

    def _learn(self, batch: IntArray) -> float:
        """One step; its loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = weighted_loss(self.model, self.data, batch)
        self.learner.descend(loss, factor(self.step, len(self.batches)))
        return loss.item()
