"""What a training signal does on average, and how much it scatters: exactly, over all calls of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.func import grad, vmap  # pyright: ignore[reportPrivateImportUsage]

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.batch import Batch, Loss
from klrl_envs.signals.calls import Calls, Drawn
from klrl_envs.signals.policy import log_law, log_softmax, random_policy
from klrl_envs.signals.tiny import TinyTask

CHUNK = 4_096
"""Calls that are computed at once."""
TRIED = 3
"""Likely calls, and as many others, on which it is tried whether many can be computed at once."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """How texts come to the trainer, where that is not simply by the policy that is trained.

    Attributes:
        noise: float64 [P, S, V] on the logits that write, in nats; None for none.
        writer: float64 [P, S, V], a policy that writes all texts in place of the one that is trained.
        told: whether ``old_log_probs`` are those of what wrote; else the trainer's own.
        retokenised: whether the trainer sees the tokens that a tokenizer makes of a text's letters.
        steps: gradient steps that are taken on a batch.
        rate: of a step, where there are several; in logits per unit of the loss's gradient.
    """

    noise: FloatArray | None = None
    writer: FloatArray | None = None
    told: bool = True
    retokenised: bool = False
    steps: int = 1
    rate: float = 1.0


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of the loss in the policy's logits, one for each call: [M, P, S, V], and how likely it is."""

    each: FloatArray
    drawn: Drawn

    @property
    def mean(self) -> FloatArray:
        """[P, S, V], of the expected loss."""
        return np.tensordot(self.drawn.weights, self.each, axes=1)

    @property
    def deviation(self) -> float:
        """Root of the summed variances of all entries but those beyond a text's end."""
        away = ((self.each - self.mean)[:, :, :-1] ** 2).sum(axis=(1, 2, 3))
        return float(np.sqrt(self.drawn.weights @ away))

    def parts(self) -> list[FloatArray]:
        """Means [P, S, V] of the independent parts of a sample."""
        return [
            self.each[self.drawn.part == part].mean(axis=0) for part in range(int(self.drawn.part.max()) + 1)
        ]


class Signal:
    """A loss on a task.

    Args:
        loss: see ``klrl_envs.signals.batch``.
        task: whose texts it is given.
        calls: how many at once.
        sampler: how they come.

    Attributes:
        vectorised: whether many calls are computed at once; else the loss is called once for each.
    """

    def __init__(self, loss: Loss, task: TinyTask, calls: Calls, sampler: Sampler | None = None) -> None:
        self.loss, self.task, self.calls = loss, task, calls
        self.sampler = sampler or Sampler()
        self.mask = torch.as_tensor(task.mask.astype(np.float64))
        self.tokens, self.states = torch.as_tensor(task.tokens), torch.as_tensor(task.states)
        self.rewards, self.reference = torch.as_tensor(task.rewards), torch.as_tensor(task.reference)
        self.canonical = torch.as_tensor(task.canonical)
        self.beyond = beyond_the_end(task)
        self.vectorised = self._can_be_vectorised()

    def gradients(self, rows: FloatArray) -> Gradients:
        """At a policy, float64 [P, S, V] log-probs."""
        rows = np.concatenate([rows[:, :-1], self.beyond], axis=1)
        written = self._writes(rows)
        drawn = self.calls.drawn(np.exp(log_law(self.task, written)))
        old = torch.as_tensor(written if self.sampler.told else rows)
        return Gradients(self._each(torch.as_tensor(rows), old, drawn, self.vectorised), drawn)

    def _writes(self, rows: FloatArray) -> FloatArray:
        if self.sampler.noise is None and self.sampler.writer is None:
            return rows
        written = rows if self.sampler.writer is None else self.sampler.writer.copy()
        if self.sampler.noise is not None:
            written = log_softmax(written + self.sampler.noise)
        written[:, -1] = rows[:, -1]
        return written

    def _each(self, rows: torch.Tensor, old: torch.Tensor, drawn: Drawn, vectorised: bool) -> FloatArray:
        prompts, texts = torch.as_tensor(drawn.prompts), torch.as_tensor(drawn.texts)

        def moved(prompts: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
            """The way that the steps on one batch go, per step and unit of rate."""
            now = rows
            for _ in range(self.sampler.steps):
                now = now - self.sampler.rate * slope(now, old, prompts, texts)
            return (rows - now) / (self.sampler.rate * self.sampler.steps)

        slope = grad(self._loss) if vectorised else self._slope
        if vectorised:
            return vmap(moved, chunk_size=CHUNK)(prompts, texts).numpy()
        return torch.stack([moved(*call) for call in zip(prompts, texts)]).numpy()

    def _slope(self, rows: torch.Tensor, *of: torch.Tensor) -> torch.Tensor:
        rows = rows.detach().requires_grad_()
        return torch.autograd.grad(self._loss(rows, *of), rows)[0]

    def _loss(
        self, rows: torch.Tensor, old: torch.Tensor, prompts: torch.Tensor, texts: torch.Tensor
    ) -> torch.Tensor:
        """The loss of one call: of texts [B] of prompts [B]."""
        return self.loss(self.batch(rows.log_softmax(dim=2), old, prompts, texts))

    def batch(
        self, rows: torch.Tensor, old: torch.Tensor, prompts: torch.Tensor, texts: torch.Tensor
    ) -> Batch:
        """What the trainer has of texts [B] of prompts [B]; rows and old are log-probs [P, S, V]."""
        seen = self.canonical[texts] if self.sampler.retokenised else texts
        tokens, places = self.tokens[seen], (prompts[:, None], self.states[seen])
        logits, before, reference = (table[places] for table in (rows, old, self.reference))

        def taken(table: torch.Tensor) -> torch.Tensor:
            return table.gather(2, tokens[:, :, None])[:, :, 0]

        size = self.calls.group_size
        return Batch(
            log_probs=taken(logits),
            old_log_probs=taken(before),
            reference_log_probs=taken(reference),
            logits=logits,
            reference_logits=reference,
            tokens=tokens,
            mask=self.mask[seen],
            rewards=self.rewards[prompts, texts],
            groups=torch.arange(len(texts)) // size,
            group_size=size,
            kl_coef=self.task.kl_coef,
        )

    def _can_be_vectorised(self) -> bool:
        """Whether many calls at once give what single calls give.

        Raises:
            ValueError: the loss gives no number that has a gradient.
        """
        rows = np.concatenate([self.task.reference[:, :-1], self.beyond], axis=1)
        drawn = self.calls.drawn(np.exp(log_law(self.task, rows)))
        ranked = np.argsort(-drawn.weights, kind="stable")
        # in a likely group all texts are often one, and none has an advantage: others are tried, too
        tried = np.unique(
            [*ranked[:TRIED], *ranked[np.linspace(0, len(ranked) - 1, TRIED + 1)[1:].astype(int)]]
        )
        few = Drawn(drawn.prompts[tried], drawn.texts[tried], drawn.weights[tried], drawn.part[tried])
        start = torch.as_tensor(rows)
        for prompts, texts in zip(torch.as_tensor(few.prompts), torch.as_tensor(few.texts)):
            value = self._loss(start.clone().requires_grad_(), start, prompts, texts)
            if not isinstance(value, torch.Tensor) or value.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValueError(f"a loss must return a tensor with one number, got {value!r}")
            if not value.requires_grad:
                raise ValueError(
                    "the loss has no gradient in batch.log_probs or batch.logits: all is detached"
                )
            if not torch.isfinite(value):
                raise ValueError(f"the loss is {value.item()} on a batch of pi0's texts")
        elsewhere = random_policy(self.task, seed=0)  # where the KL has a gradient
        away = torch.as_tensor(np.concatenate([elsewhere[:, :-1], self.beyond], axis=1))
        single = self._each(away, away, few, vectorised=False)
        try:
            many = self._each(away, away, few, vectorised=True)
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError):
            return False  # control flow by values, .item(), NumPy: one call after the other
        return bool(np.allclose(many, single, rtol=1e-9, atol=1e-12))


def beyond_the_end(task: TinyTask, seed: int = 1) -> FloatArray:
    """What a policy says of padding, log-probs [P, 1, V]: noise, and another than pi0's."""
    size = (task.prompts, 1, task.reference.shape[2])
    return log_softmax(np.random.default_rng(seed).normal(size=size))
