"""What the policies write and learn from: arrays [N, T] of finished episodes, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.categorical import ResidualScores, divergence, draw
from klrl_envs import Engine, Task
from klrl_envs.wrappers import Episode


@dataclass(frozen=True)
class Trajectories:
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
    def exact_kl(self) -> bool:
        """Whether ``kl`` is over the whole vocabulary, as it is but where rows are too many to keep."""
        return True

    @property
    def steps(self) -> int:
        """Tokens written, the end tokens among them."""
        return int(self.mask.sum())

    def episodes(self, tokens: int, kl_coef: float) -> list[Episode]:
        """The episodes as they go on record.

        Args:
            tokens: that were written in training, these among them.
            kl_coef: in units of reward per nat.
        """
        rewards, lengths = self.rewards.sum(1).tolist(), self.mask.sum(1).tolist()
        k1, kl = self.log_ratios.sum(1).tolist(), self.kl.sum(1).tolist()
        return [
            Episode(
                episode=place,
                tokens=tokens,
                text=text,
                task_reward=rewards[place],
                paid=rewards[place] - kl_coef * k1[place],
                length=lengths[place],
                k1=k1[place],
                kl=kl[place],
                lane=place,
                metrics={name: values[place] for name, values in self.metrics.items() if values.ndim == 1},
            )
            for place, text in enumerate(self.texts)
        ]

    def paid(self, kl_coef: float) -> Tensor:
        """What each step is worth in nats, float32 [N, T]: r / kl_coef - (log pi - log pi0)."""
        return self.rewards / kl_coef - self.log_ratios


@dataclass(frozen=True)
class Step:
    """One step of N lanes; ``active`` are those that took it. The rest as in ``Trajectories``, without T."""

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
    """Gathers the steps of an engine's lanes, which begin together, into ``Trajectories``.

    Args:
        engine: its lanes are put at ``prompts`` [N].
        device: of the trajectories.
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
        active = ~self._engine.done
        result = self._engine.step(tokens.cpu().numpy(), active)
        assert result.reference_log_prob is not None
        for name, values in result.metrics.items():
            if name not in self._metrics:
                self._metrics[name] = np.zeros((len(active), *values.shape[1:]), dtype=values.dtype)
            self._metrics[name][result.finished] = values
        step = Step(
            active=active,
            inputs=inputs,
            rows=reference,
            actions=tokens,
            rewards=result.reward,
            log_probs=log_probs,
            reference_log_probs=result.reference_log_prob,
            kl=kl,
            base=total + kl if base is None else torch.full_like(kl, base),
        )
        self._steps.append(step)
        return tokens

    def trajectories(self) -> Trajectories:
        """The finished episodes."""
        mask = torch.as_tensor(np.stack([step.active for step in self._steps], axis=1), device=self._device)

        def column(name: str) -> Tensor:
            values = [torch.as_tensor(getattr(step, name), device=self._device) for step in self._steps]
            return torch.where(mask, torch.stack(values, dim=1), 0)

        log_probs = column("log_probs")
        return Trajectories(
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
    engine.seed_lanes(np.random.default_rng((seed, 1, lane)) for lane in range(lanes))
    return engine


def residual_scores(trajectories: Trajectories, index: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """log pi of the tokens taken and exact KL, each [n, T], nats, zero after the end.

    Args:
        trajectories: N of them.
        index: n of the N.
        residual: [M, V], logits less log pi0 of the M steps of those n that were taken, in order.
    """
    mask = trajectories.mask[index]
    rows, actions = trajectories.rows[index][mask], trajectories.actions[index][mask]
    taken, kl = ResidualScores.apply(rows, residual, actions)  # pyright: ignore[reportGeneralTypeIssues]
    blank = torch.zeros(mask.shape, device=mask.device)
    return blank.masked_scatter(mask, taken), blank.masked_scatter(mask, kl)
