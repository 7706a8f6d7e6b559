"""What a training signal does on average, and how much it scatters: exactly, over all calls of the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.func import grad, vmap  # pyright: ignore[reportPrivateImportUsage]

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.batch import Batch, Loss
from klrl_envs.signals.calls import Calls, Drawn
from klrl_envs.signals.policy import log_law, log_softmax
from klrl_envs.signals.tiny import TinyTask
from klrl_envs.signals.trial import LossError, described, raised, tried

CHUNK = 4_096
"""Calls that are computed at once."""
ROUNDING = 1e-12
"""Of a gradient's deviation: what its mean may be off by."""
SILENT = 1e-12
"""Gradients so short are 0."""
ERRORS = 2.0
"""Standard errors beyond which a sampled gradient is one."""
PART = 512
"""Calls that are made one after the other before their gradients are taken."""


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

    @property
    def error(self) -> float:
        """Of the mean's length: what rounding makes of it, and where calls are sampled the sample."""
        parts = np.stack(self.parts())[:, :, :-1]
        count = len(parts)
        sampled = float(parts.var(axis=0, ddof=1).sum() / count) ** 0.5 if count > 1 else 0.0
        return ERRORS * sampled + ROUNDING * self.deviation

    @property
    def silent(self) -> bool:
        """Whether the mean is 0, as far as can be told."""
        return float(np.linalg.norm(self.mean[:, :-1])) <= max(self.error, SILENT)

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
        one_by_one: why the loss is called once for each call; empty where many are computed at once.
        vectorised: whether they are.

    Raises:
        LossError: see ``klrl_envs.signals.trial``.
    """

    def __init__(self, loss: Loss, task: TinyTask, calls: Calls, sampler: Sampler | None = None) -> None:
        self.loss, self.task, self.calls = loss, task, calls
        self.sampler = sampler or Sampler()
        self.mask = torch.as_tensor(task.mask.astype(np.float64))
        self.tokens, self.states = torch.as_tensor(task.tokens), torch.as_tensor(task.states)
        self.rewards, self.reference = torch.as_tensor(task.rewards), torch.as_tensor(task.reference)
        self.canonical = torch.as_tensor(task.canonical)
        self.beyond = beyond_the_end(task)
        self.one_by_one = tried(self)
        self.vectorised = not self.one_by_one

    def gradients(self, rows: FloatArray) -> Gradients:
        """At a policy, float64 [P, S, V] log-probs.

        Raises:
            LossError: the loss raises an error there, or its gradient is not finite.
        """
        now = self.table(rows)
        written = self._writes(now.numpy())
        drawn = self.calls.drawn(np.exp(log_law(self.task, written)))
        old = torch.as_tensor(written) if self.sampler.told else now
        each = self.each(now, old, drawn, vectorised=self.vectorised)
        wrong = np.flatnonzero(~np.isfinite(each).all(axis=(1, 2, 3)))
        each[wrong[drawn.weights[wrong] == 0]] = 0.0  # such calls never come
        wrong = wrong[drawn.weights[wrong] > 0]
        if len(wrong):
            worst = wrong[drawn.weights[wrong].argmax()]
            where = described(self.task, drawn.texts[worst], self.calls.group_size)
            raise LossError(f"the loss's gradient is not finite on {where}")
        return Gradients(each, drawn)

    def table(self, rows: FloatArray) -> torch.Tensor:
        """A policy, with what is said of padding in the last state [P, S, V]."""
        return torch.as_tensor(np.concatenate([rows[:, :-1], self.beyond], axis=1))

    def _writes(self, rows: FloatArray) -> FloatArray:
        if self.sampler.noise is None and self.sampler.writer is None:
            return rows
        written = rows if self.sampler.writer is None else self.sampler.writer.copy()
        if self.sampler.noise is not None:
            written = log_softmax(written + self.sampler.noise)
        written[:, -1] = rows[:, -1]
        return written

    def each(self, rows: torch.Tensor, old: torch.Tensor, drawn: Drawn, *, vectorised: bool) -> FloatArray:
        """The gradient of each call [M, P, S, V]; of several steps on a batch the way that they go, per step.

        Args:
            rows: float64 [P, S, V], the policy.
            old: likewise, what ``old_log_probs`` are of.
            drawn: the calls.
            vectorised: whether they are computed at once.
        """
        prompts, texts = torch.as_tensor(drawn.prompts), torch.as_tensor(drawn.texts)
        if vectorised:
            slope = grad(self.loss_of)

            def one(prompts: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
                return self._moved(slope, rows, old, prompts, texts)

            return vmap(one, chunk_size=CHUNK)(prompts, texts).numpy()
        parts = [
            self._moved(self._slopes, rows.expand(len(some), *rows.shape), old, some, texts[at : at + PART])
            for at in range(0, len(texts), PART)
            for some in (prompts[at : at + PART],)
        ]
        return torch.cat(parts).numpy()

    def _moved(
        self, slope: Callable[..., torch.Tensor], rows: torch.Tensor, *of: torch.Tensor
    ) -> torch.Tensor:
        """The way that the steps on one batch go, per step and unit of rate."""
        now = rows
        for _ in range(self.sampler.steps):
            now = now - self.sampler.rate * slope(now, *of)
        return (rows - now) / (self.sampler.rate * self.sampler.steps)

    def loss_of(
        self, rows: torch.Tensor, old: torch.Tensor, prompts: torch.Tensor, texts: torch.Tensor
    ) -> torch.Tensor:
        """The loss of one call, of texts [B] of prompts [B], as a scalar."""
        return self.value(self.batch(rows.log_softmax(dim=-1), old, prompts, texts))

    def _slopes(
        self, rows: torch.Tensor, old: torch.Tensor, prompts: torch.Tensor, texts: torch.Tensor
    ) -> torch.Tensor:
        """The gradient of each of M calls that are made one after the other; rows [M, P, S, V]."""
        rows = rows.detach().requires_grad_()
        whole = self.batch(rows.log_softmax(dim=-1), old, prompts, texts)
        # no call has to do with another's rows: the gradient of the sum holds each one's
        total = torch.stack([self.value(one) for one in apart(whole)]).sum()
        if not total.requires_grad:
            return torch.zeros_like(rows)
        return torch.autograd.grad(total, rows, materialize_grads=True)[0]

    def value(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch, as a scalar.

        Raises:
            LossError: it is none, or raises an error.
        """
        try:
            value = self.loss(batch)
        except Exception as error:  # the author's code: whatever it may raise
            raise LossError(f"the loss raised {raised(error)}") from error
        if not isinstance(value, torch.Tensor) or value.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LossError(f"a loss must return a tensor with one number, got {value!r}")
        return value.reshape(())

    def batch(
        self, rows: torch.Tensor, old: torch.Tensor, prompts: torch.Tensor, texts: torch.Tensor
    ) -> Batch:
        """What the trainer has of texts [B] of prompts [B]; rows and old are log-probs [P, S, V].

        With rows [M, P, S, V], prompts and texts [M, B] it is M batches in one, each with its own rows.
        """
        seen = self.canonical[texts] if self.sampler.retokenised else texts
        tokens, places = self.tokens[seen], (prompts[..., None], self.states[seen])
        own = () if rows.dim() == 3 else (torch.arange(len(rows))[:, None, None],)
        logits, before, reference = rows[(*own, *places)], old[places], self.reference[places]

        def taken(table: torch.Tensor) -> torch.Tensor:
            return table.gather(-1, tokens[..., None])[..., 0]

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
            groups=torch.arange(texts.shape[-1]) // size,
            group_size=size,
            kl_coef=self.task.kl_coef,
        )


def apart(whole: Batch) -> Iterator[Batch]:
    """The batches of M in one."""
    shared: dict[str, Any] = {
        "groups": whole.groups, "group_size": whole.group_size, "kl_coef": whole.kl_coef,
    }  # fmt: skip
    stacked = {one.name: getattr(whole, one.name).unbind() for one in fields(whole) if one.name not in shared}
    for tensors in zip(*stacked.values()):
        # copies, so that a loss may write into what it is given
        own: dict[str, Any] = {name: one.clone() for name, one in zip(stacked, tensors)}
        yield Batch(**own, **shared)


def beyond_the_end(task: TinyTask, seed: int = 1) -> FloatArray:
    """What a policy says of padding, log-probs [P, 1, V]: noise, and another than pi0's."""
    size = (task.prompts, 1, task.reference.shape[2])
    return log_softmax(np.random.default_rng(seed).normal(size=size))
