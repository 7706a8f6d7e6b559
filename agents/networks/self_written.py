"""Texts that a policy on pi0 writes to itself: nothing is rewarded, and so nothing is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.categorical import draw
from klrl_envs import Task
from klrl_envs.networks.evidence import after_none
from klrl_envs.networks.text_heads import Reading, TextHeads


@dataclass(frozen=True)
class SelfWritten:
    """N texts of at most T tokens after their prompts.

    Attributes:
        tokens: prompt and text, int64 [N, L], padded.
        first: int64 [N], the prompts' lengths.
        actions: int64 [N, T].
        mask: bool [N, T], the steps that were taken.
        log_probs: float32 [N, T], log pi of the actions, nats, zero after the end.
        log_ratios: float32 [N, T], the same less log pi0.
        hidden: float [N, T, width], pi0's final hidden state before each step.
        texts: as the task shows them.
        ends: int64 [N, T + 1], characters of the text that stand after 0 to T tokens.
    """

    tokens: Tensor
    first: Tensor
    actions: Tensor
    mask: Tensor
    log_probs: Tensor
    log_ratios: Tensor
    hidden: Tensor
    texts: list[str]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, the prompt's among them, int64 [N]."""
        return (self.first + self.mask.sum(1)).numpy()

    def before(self, index: Tensor) -> Tensor:
        """Tokens before each step [n, T] of the texts ``index`` [n], the prompt's among them."""
        steps = torch.arange(self.mask.shape[1])
        return (self.first[index][:, None] + steps).clamp_max(self.tokens.shape[1])

    def part(self, count: int) -> SelfWritten:
        """The first ``count`` of the texts."""
        return SelfWritten(**{name: value[:count] for name, value in self.__dict__.items()})

    def halved(self) -> SelfWritten:
        """The same with hidden states in float16."""
        return replace(self, hidden=self.hidden.half())


def joined(parts: Sequence[SelfWritten]) -> SelfWritten:
    """All texts of the parts, in order."""

    def one(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if name == "texts":
            return [text for value in values for text in value]
        return np.concatenate(values) if name == "ends" else torch.cat(values)

    return SelfWritten(**{name: one(name) for name in parts[0].__dict__})


@torch.no_grad()
def write(
    task: Task, policy: TextHeads | None, prompts: NDArray[np.int64], generator: torch.Generator
) -> SelfWritten:
    """A text after each of the prompts [N], by their numbers.

    Args:
        task: whose prompts and pi0 are read.
        policy: on the CPU; pi0 itself where None.
        prompts: int64 [N].
        generator: of what is drawn.
    """
    count, horizon = len(prompts), task.horizon
    first = task.prompts.lengths[prompts].astype(np.int64)
    tokens = np.full((count, task.max_length), task.pad, dtype=np.int64)
    tokens[:, : task.prompt_length] = task.padded_prompts[prompts]
    lanes = task.reference.lanes(count, task.max_length)
    lanes.reset(np.arange(count), tokens, first)
    progress = None if policy is None else Reading(policy, torch.as_tensor(tokens), first)
    every, active = np.arange(count), np.ones(count, dtype=np.bool_)
    taken = np.zeros((count, horizon), dtype=np.int64)
    mask = np.zeros((count, horizon), dtype=np.bool_)
    log_probs, log_ratios = torch.zeros(count, horizon), torch.zeros(count, horizon)
    hidden: list[Tensor] = []
    for step in range(horizon):
        reference, state = torch.as_tensor(lanes.log_probs()).float(), torch.tensor(lanes.hidden())
        rows = reference
        if policy is not None and progress is not None:
            residual = policy.residual(progress.inputs(state), progress.last)
            rows = (reference + residual).log_softmax(dim=-1)
        drawn, chosen = draw(rows, generator)
        hidden.append(state)
        mask[:, step], taken[:, step] = active, np.where(active, drawn.numpy(), 0)
        log_probs[:, step] = chosen
        log_ratios[:, step] = chosen - reference.gather(-1, drawn[:, None]).squeeze(-1)
        tokens[every[active], (first + step)[active]] = taken[active, step]
        if task.end_token is not None:
            active = active & (taken[:, step] != task.end_token)
        if step + 1 == horizon or not active.any():
            break
        lanes.step(taken[:, step], active)
        if progress is not None:
            progress.append(torch.as_tensor(taken[:, step]))
    hidden += [torch.zeros_like(hidden[0])] * (horizon - len(hidden))
    texts, ends = decoded(task, tokens, first, mask)
    there = torch.as_tensor(mask)
    return SelfWritten(
        tokens=torch.as_tensor(tokens),
        first=torch.as_tensor(first),
        actions=torch.as_tensor(taken),
        mask=there,
        log_probs=torch.where(there, log_probs, 0.0),
        log_ratios=torch.where(there, log_ratios, 0.0),
        hidden=torch.stack(hidden, dim=1),
        texts=texts,
        ends=ends,
    )


def decoded(
    task: Task, tokens: NDArray[np.int64], first: NDArray[np.int64], mask: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int64]]:
    """Texts of tokens [N, L], and the characters [N, T + 1] that stand after 0 to T tokens of each."""
    decode, written = task.vocabulary.decode, mask.sum(axis=1)
    texts: list[str] = []
    ends = np.zeros((len(tokens), mask.shape[1] + 1), dtype=np.int64)
    for place, row in enumerate(tokens.tolist()):
        begin, length = int(first[place]), int(written[place])
        lengths = [len(decode(row[: begin + step])) for step in range(length)]
        texts.append(decode(row[: begin + length]))
        ends[place, :length] = lengths
        ends[place, length:] = len(texts[-1])
    return texts, np.maximum.accumulate(ends, axis=1)


def heads_read(policy: TextHeads, texts: SelfWritten, index: Tensor) -> tuple[Tensor, Tensor]:
    """pi0's logits and the policy's residual, [M, V] each, at the M steps of the texts ``index`` [n]."""
    mask, before, tokens = texts.mask[index], texts.before(index), texts.tokens[index]
    sums = policy.evidence.sums(tokens)
    sums = sums.gather(1, before[..., None].expand(-1, -1, sums.shape[-1]))
    state = texts.hidden[index].float()
    inputs = policy.encode(state, sums, before)[mask]
    last = after_none(tokens).gather(1, before)[mask]
    return state[mask] @ policy.unembedding.T, policy.residual(inputs, last)
