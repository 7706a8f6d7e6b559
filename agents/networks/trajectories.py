"""What the policies write and learn from: arrays [N, T] of finished episodes, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.categorical import ResidualScores, divergence, draw, likeliest
from klrl_envs import Engine, Task
from klrl_envs.reference.device import rows_of
from klrl_envs.wrappers import Episode

TAKEN = ("mask", "actions", "rewards", "reference_log_probs")
SCORED = ("inputs", "rows", "log_probs", "kl", "base")


@dataclass(frozen=True)
class Visited:
    """What the steps of an exact task share: S distinct pairs of automaton state and time, and K contexts.

    Attributes:
        inputs: what the policy reads in each of the S, float32 [S, D].
        state: int64 [N, T], which of the S; 0 after the end.
        base: float [K, V], probabilities that the policy's residual starts from, by context.
        changed: float [K, V], base (log base - log pi0), or None where base is pi0.
        context: int64 [N, T], which of the K; 0 after the end.
        reached: int64 [N, T], the automaton's state behind each step, and behind the task's reply to it.
    """

    inputs: Tensor
    state: Tensor
    base: Tensor
    changed: Tensor | None
    context: Tensor
    reached: Tensor


@dataclass(frozen=True)
class Trajectories:
    """N finished episodes of at most T steps, on the policy's device.

    Attributes:
        inputs: what the policy reads at each step, float32 [N, T, D]; D = 0 where ``visited`` has it.
        rows: log pi0(.|s), nats, float32 [N, T, V]; [N, T, 0] likewise.
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
        visited: what the steps share, of the policy that knows it.
        told: int64 [N, T], tokens that the task wrote after the first action and before each step; None where
            it never writes.
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
    visited: Visited | None = None
    told: Tensor | None = None

    def taken(self, values: Tensor, index: Tensor) -> Tensor:
        """Of values [N, T, ...] those [M, ...] of the M steps that the episodes ``index`` [n] took, in order.

        What stands after an end is not touched: of rows it would be most.
        """
        episode, step = self.mask[index].nonzero(as_tuple=True)
        return values[index[episode], step]

    def before(self, index: Tensor) -> Tensor:
        """Tokens before each step [n, T] of the episodes ``index`` [n]: the prompt's, and the task's, too."""
        steps = torch.arange(self.mask.shape[1], device=self.mask.device)
        own = self.first[index][:, None] + steps
        return (own if self.told is None else own + self.told[index]).clamp_max(self.tokens.shape[1])

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
        log_probs = self.log_probs.sum(1).tolist()
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
                log_prob=log_probs[place],
                lane=place,
                metrics={name: values[place] for name, values in self.metrics.items() if values.ndim == 1},
            )
            for place, text in enumerate(self.texts)
        ]

    def paid(self, kl_coef: float) -> Tensor:
        """What each step is worth in nats, float32 [N, T]: r / kl_coef - (log pi - log pi0)."""
        return self.rewards / kl_coef - self.log_ratios


class Writer:
    """Gathers the steps of an engine's lanes, which begin together, into ``Trajectories``.

    Args:
        engine: its lanes are put at ``prompts`` [N].
        device: of the trajectories.
        given: int64 [N, T], tokens in place of those that are drawn.
        greedy: takes the likeliest tokens.
        by_reference: bool [N, T], the steps at which ``step`` has no residual.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: NDArray[np.int64],
        device: torch.device,
        given: NDArray[np.int64] | None = None,
        greedy: bool = False,
        by_reference: NDArray[np.bool_] | None = None,
    ) -> None:
        engine.reset(np.arange(engine.lanes), prompts)
        self._engine = engine
        self._device = device
        self._given = given
        self._greedy = greedy
        self._by_reference = by_reference
        self._first = torch.as_tensor(engine.length.copy(), device=device)
        self._taken: dict[str, list[NDArray[Any]]] = {name: [] for name in TAKEN}
        self._scored: dict[str, list[Tensor]] = {name: [] for name in SCORED}
        self._metrics: dict[str, NDArray[Any]] = {}
        self._told: list[NDArray[np.int64]] = []

    def given(self, lanes: NDArray[np.int64]) -> Tensor | None:
        """The next tokens [K] of lanes [K] that go on, where they are given; None to draw them."""
        if self._given is None:
            return None
        # a text that goes on behind all that is given repeats the last
        step = np.minimum(self._engine.time[lanes], self._given.shape[1] - 1)
        return torch.as_tensor(self._given[lanes, step], device=self._device)

    @property
    def lanes(self) -> NDArray[np.int64]:
        """Those that have not ended, [K]."""
        return np.flatnonzero(~self._engine.done)

    def reference_rows(self) -> Tensor:
        """log pi0(.|s) float32 [K, V] in the lanes that have not ended."""
        return rows_of(self._engine.reference_lanes, self._device, self.lanes)

    def step(
        self,
        inputs: Tensor,
        reference: Tensor,
        residual: Tensor,
        base: float | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Draw tokens from the logits reference + residual [K, V] in the lanes that have not ended, or take
        those that are given, write them, and return the tokens of all lanes [N].

        ``inputs`` [K, D] are kept. ``base`` is what the critic's values are added to; None for log sum exp of
        the logits plus the KL.
        """
        lanes = self.lanes
        if self._by_reference is not None:
            borrowed = self._by_reference[lanes, self._engine.time[lanes]]
            residual = residual.masked_fill(torch.as_tensor(borrowed, device=self._device)[:, None], 0.0)
        logits = reference + residual
        total = logits.logsumexp(dim=-1)
        rows = logits - total[:, None]
        tokens = self.given(lanes)
        if tokens is None:
            tokens, log_probs = likeliest(rows) if self._greedy else draw(rows, generator)
        else:
            log_probs = rows.gather(-1, tokens[:, None]).squeeze(-1)
        kl = divergence(rows, reference)
        scored = {
            "inputs": inputs,
            "rows": reference,
            "log_probs": log_probs,
            "kl": kl,
            "base": total + kl if base is None else torch.full_like(kl, base),
        }
        for name, values in scored.items():
            self._scored[name].append(values)
        places = torch.as_tensor(lanes, device=self._device)
        written = tokens.new_zeros(self._engine.lanes).index_copy_(0, places, tokens)
        self.take(written.cpu().numpy())
        return written

    def take(self, tokens: NDArray[np.int64]) -> None:
        """Write tokens [N] in the lanes that have not ended; who writes so gives ``finished`` the scores."""
        active = ~self._engine.done
        if self._engine.environment_tokens is not None:
            self._told.append(self._engine.length - self._engine.time)
        result = self._engine.step(tokens, active)
        assert result.reference_log_prob is not None
        for name, values in result.metrics.items():
            if name not in self._metrics:
                self._metrics[name] = np.zeros((len(active), *values.shape[1:]), dtype=values.dtype)
            self._metrics[name][result.finished] = values
        for name, array in zip(TAKEN, (active, tokens, result.reward, result.reference_log_prob)):
            self._taken[name].append(array)

    def column(self, name: str) -> Tensor:
        """One of ``TAKEN`` of all steps so far, [N, T]."""
        return torch.as_tensor(np.stack(self._taken[name], axis=1), device=self._device)

    def trajectories(self) -> Trajectories:
        """The finished episodes, all of whose steps were ``step``'s."""
        scored: dict[str, Any] = {name: self._spread(values) for name, values in self._scored.items()}
        return self.finished(**scored)

    def _spread(self, values: list[Tensor]) -> Tensor:
        """[N, T, ...], zero after the end, of the T steps' values [K, ...] in the lanes that went on."""
        whole = values[0].new_zeros((self._engine.lanes, len(values), *values[0].shape[1:]))
        for step, (active, some) in enumerate(zip(self._taken["mask"], values, strict=True)):
            whole[torch.as_tensor(active, device=self._device), step] = some
        return whole

    def finished(
        self,
        *,
        log_probs: Tensor,
        kl: Tensor,
        base: Tensor,
        inputs: Tensor | None = None,
        rows: Tensor | None = None,
        visited: Visited | None = None,
    ) -> Trajectories:
        """The finished episodes, with the scores of their steps, as ``Trajectories`` has them."""
        mask = self.column("mask")
        log_probs = torch.where(mask, log_probs, 0)
        nothing = log_probs.new_empty((*mask.shape, 0))
        return Trajectories(
            inputs=nothing if inputs is None else inputs,
            rows=nothing if rows is None else rows,
            tokens=torch.as_tensor(self._engine.tokens.copy(), device=self._device),
            first=self._first,
            actions=torch.where(mask, self.column("actions"), 0),
            mask=mask,
            rewards=torch.where(mask, self.column("rewards"), 0).float(),
            log_ratios=log_probs - torch.where(mask, self.column("reference_log_probs"), 0).float(),
            log_probs=log_probs,
            kl=torch.where(mask, kl, 0),
            base=torch.where(mask, base, 0),
            texts=[str(text) for text in self._metrics.pop("text")],
            metrics=self._metrics,
            visited=visited,
            told=torch.as_tensor(np.stack(self._told, axis=1), device=self._device) - self._first[:, None]
            if self._told
            else None,
        )


def make_engine(task: Task, lanes: int, seed: int) -> Engine:
    """An engine whose lanes are seeded from ``seed``, apart from ``default_rng(seed)``."""
    engine = Engine(task, lanes)
    engine.seed_lanes(np.random.default_rng((seed, 1, lane)) for lane in range(lanes))
    return engine


def last_steps(mask: Tensor) -> Tensor:
    """Bool [N, T], the last of the steps that were taken, mask bool [N, T]."""
    return mask & (mask.flip(1).cumsum(1).flip(1) == 1)


def residual_scores(trajectories: Trajectories, index: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """log pi of the tokens taken and exact KL, each [n, T], nats, zero after the end.

    Args:
        trajectories: N of them.
        index: n of the N.
        residual: [M, V], logits less log pi0 of the M steps of those n that were taken, in order.
    """
    mask = trajectories.mask[index]
    rows, actions = trajectories.taken(trajectories.rows, index), trajectories.actions[index][mask]
    taken, kl = ResidualScores.apply(rows, residual, actions)  # pyright: ignore[reportGeneralTypeIssues]
    blank = torch.zeros(mask.shape, device=mask.device)
    return blank.masked_scatter(mask, taken), blank.masked_scatter(mask, kl)
