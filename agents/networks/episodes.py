"""Episodes as the torch agents write and read them: arrays [N, T] of finished texts, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from klrl_envs.envs.engine import Engine
from klrl_envs.tasks.base import Task


@dataclass(frozen=True)
class Episodes:
    """N finished episodes of at most T steps, on the policy's device.

    Attributes:
        inputs: what the policy reads at each step, float32 [N, T, D].
        rows: log pi0(.|s), nats, float32 [N, T, V].
        tokens: prompt and text, int64 [N, L], padded.
        first: int64 [N], where in ``tokens`` the first action is.
        actions: int64 [N, T].
        mask: bool [N, T], the steps that were taken.
        rewards: float32 [N, T], of the task alone.
        log_ratios: float32 [N, T], log pi - log pi0 of the tokens taken, nats, zero after the end.
        log_probs: float32 [N, T], log pi of the tokens taken, under the policy that took them.
        kl: float32 [N, T], exact KL(pi(.|s) || pi0(.|s)) at each step, nats, zero after the end.
        base: float32 [N, T], what the critic's values are added to, nats.
        texts: of the episodes.
        metrics: the task's, arrays [N].
    """

    inputs: Tensor
    rows: Tensor
    tokens: Tensor
    first: Tensor
    actions: Tensor
    mask: Tensor
    rewards: Tensor
    log_ratios: Tensor
    log_probs: Tensor
    kl: Tensor
    base: Tensor
    texts: list[str]
    metrics: Mapping[str, NDArray[Any]]

    @property
    def steps(self) -> int:
        """Tokens written, the end tokens among them."""
        return int(self.mask.sum())

    def paid(self, kl_coef: float) -> Tensor:
        """What each step is worth in nats, k1 inside, float32 [N, T]: r / kl_coef - (log pi - log pi0)."""
        return self.rewards / kl_coef - self.log_ratios


@dataclass(frozen=True)
class Step:
    """One step of N lanes; ``active`` are those that took it. The rest as in ``Episodes``, without T."""

    active: NDArray[np.bool_]
    inputs: Tensor
    rows: Tensor
    actions: Tensor
    rewards: NDArray[np.float64]
    log_probs: Tensor
    reference_log_probs: NDArray[np.float64]
    kl: Tensor
    base: Tensor


class Writer:
    """Gathers the steps of an engine's lanes, which begin and go on together, into ``Episodes``.

    Args:
        engine: its lanes are put at ``prompts`` [N].
        device: of the episodes.
    """

    def __init__(self, engine: Engine, prompts: NDArray[np.int64], device: torch.device) -> None:
        engine.reset(np.arange(engine.lanes), prompts)
        self._engine = engine
        self._device = device
        self._first = torch.as_tensor(engine.length.copy(), device=device)
        self._steps: list[Step] = []
        self._metrics: dict[str, NDArray[Any]] = {}

    def reference_rows(self) -> Tensor:
        """log pi0(.|s) float32 [N, V] at the present states."""
        return torch.tensor(self._engine.reference_log_probs(), dtype=torch.float32, device=self._device)

    def step(
        self,
        inputs: Tensor,
        reference: Tensor,
        residual: Tensor,
        base: float | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Draw tokens [N] from the logits reference + residual [N, V], write them, and return them.

        ``base`` is what the critic's values are added to; None for log sum exp of the logits plus the KL.
        """
        logits = reference + residual
        total = logits.logsumexp(dim=-1)
        rows = logits - total[:, None]
        tokens, log_probs = draw(rows, generator)
        kl = divergence(rows, reference)
        start = total + kl if base is None else torch.full_like(kl, base)
        active = ~self._engine.done
        result = self._engine.step(tokens.cpu().numpy(), active)
        assert result.reference_log_prob is not None
        for name, values in result.metrics.items():
            if name not in self._metrics:
                self._metrics[name] = np.zeros((len(active), *values.shape[1:]), dtype=values.dtype)
            self._metrics[name][result.finished] = values
        self._steps.append(
            Step(
                active,
                inputs,
                reference,
                tokens,
                result.reward,
                log_probs,
                result.reference_log_prob,
                kl,
                start,
            )
        )
        return tokens

    def episodes(self) -> Episodes:
        """The finished episodes."""
        mask = torch.as_tensor(np.stack([step.active for step in self._steps], axis=1), device=self._device)

        def column(name: str) -> Tensor:
            values = [torch.as_tensor(getattr(step, name), device=self._device) for step in self._steps]
            return torch.where(mask, torch.stack(values, dim=1), 0)

        log_probs = column("log_probs")
        return Episodes(
            inputs=torch.stack([step.inputs for step in self._steps], dim=1),
            rows=torch.stack([step.rows for step in self._steps], dim=1),
            tokens=torch.as_tensor(self._engine.tokens.copy(), device=self._device),
            first=self._first,
            actions=column("actions"),
            mask=mask,
            rewards=column("rewards").float(),
            log_ratios=log_probs - column("reference_log_probs").float(),
            log_probs=log_probs,
            kl=column("kl"),
            base=column("base"),
            texts=[str(text) for text in self._metrics.pop("text")],
            metrics=self._metrics,
        )


def make_engine(task: Task, lanes: int, seed: int) -> Engine:
    """An engine whose lanes are seeded from ``seed``, apart from ``default_rng(seed)``."""
    engine = Engine(task, lanes)
    for lane in range(lanes):
        engine.seed(lane, np.random.default_rng((seed, 1, lane)))
    return engine


def divergence(rows: Tensor, reference: Tensor) -> Tensor:
    """Exact KL(pi || pi0) [...], nats, of rows [..., V] of log-probs, in float32."""
    return (rows.exp() * (rows - reference)).sum(dim=-1)


def draw(log_probs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A token [N] of each row of log_probs [N, V] by its inverse distribution, and its log-prob [N].

    Far cheaper than ``multinomial``, which prepares for drawing without replacement.
    """
    cumulative = log_probs.exp().cumsum(dim=-1)
    uniform = torch.rand((len(log_probs), 1), generator=generator, device=log_probs.device)
    tokens = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    tokens = tokens.clamp_max(log_probs.shape[1] - 1)
    return tokens.squeeze(-1), log_probs.gather(-1, tokens).squeeze(-1)


class ResidualScores(torch.autograd.Function):
    """log pi of the tokens taken and exact KL(pi || pi0), of pi = softmax(log pi0 + residual).

    With g and h the gradients of the two, that of the residual is g (1_a - p) + h p (d - KL), where
    d = log pi - log pi0: a third of the passes over [M, V] that automatic differentiation makes.
    """

    @staticmethod
    def forward(ctx: Any, reference: Tensor, residual: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Reference (normalised) and residual [M, V], actions [M]; returns two arrays [M], nats."""
        probabilities = reference + residual
        total = probabilities.logsumexp(dim=-1, keepdim=True)
        probabilities -= total
        taken = probabilities.gather(-1, actions[:, None]).squeeze(-1)
        probabilities.exp_()
        kl = (probabilities * residual).sum(dim=-1, keepdim=True) - total
        ctx.save_for_backward(probabilities, residual, actions, total + kl)
        return taken, kl.squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        """The gradient of the residual alone."""
        probabilities, residual, actions, middle = ctx.saved_tensors
        of_taken, of_kl = (gradient[:, None] for gradient in gradients)
        result = residual - middle
        result *= of_kl
        result -= of_taken
        result *= probabilities
        result.scatter_add_(-1, actions[:, None], of_taken)
        return None, result, None


def residual_scores(episodes: Episodes, index: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """log pi of the tokens taken and exact KL, each [n, T], nats, zero after the end.

    Args:
        episodes: N of them.
        index: n of the N.
        residual: [M, V], logits less log pi0 of the M steps of those n that were taken, in order.
    """
    mask = episodes.mask[index]
    taken, kl = ResidualScores.apply(episodes.rows[index][mask], residual, episodes.actions[index][mask])  # pyright: ignore[reportGeneralTypeIssues]
    blank = torch.zeros(mask.shape, device=mask.device)
    return blank.masked_scatter(mask, taken), blank.masked_scatter(mask, kl)
