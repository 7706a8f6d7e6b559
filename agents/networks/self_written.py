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
from klrl_envs.networks.word_heads import WordHeads, WordReading
from klrl_envs.networks.words import WordEvidence, Words, chosen, read_words


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
    """

    tokens: Tensor
    first: Tensor
    actions: Tensor
    mask: Tensor
    log_probs: Tensor
    log_ratios: Tensor
    hidden: Tensor
    texts: list[str]

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
        return torch.cat(values)

    return SelfWritten(**{name: one(name) for name in parts[0].__dict__})


class InformedPolicy(WordHeads):
    """``WordHeads`` as this agent trains and averages them."""

    observes = "pi0's hidden state, sums over the tokens, a model of the reward, time"
    trains = "heads on pi0, on texts judged by a learnt model of the reward"

    def trained_state(self) -> dict[str, Tensor]:
        """Its weights by name, those of words not; no copies."""
        return {name: weight.data for name, weight in self.named_parameters()}


@torch.no_grad()
def write(
    task: Task, policy: WordHeads | None, prompts: NDArray[np.int64], generator: torch.Generator
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
    progress = None if policy is None else WordReading(policy, torch.as_tensor(tokens), first)
    every, active = np.arange(count), np.ones(count, dtype=np.bool_)
    taken = np.zeros((count, horizon), dtype=np.int64)
    mask = np.zeros((count, horizon), dtype=np.bool_)
    log_probs, log_ratios = torch.zeros(count, horizon), torch.zeros(count, horizon)
    hidden: list[Tensor] = []
    for step in range(horizon):
        reference, state = torch.as_tensor(lanes.log_probs()).float(), torch.tensor(lanes.hidden())
        rows = reference
        if policy is not None and progress is not None:
            residual = policy.residual(progress.inputs(state), progress.words)
            rows = (reference + residual).log_softmax(dim=-1)
        drawn, taken_log_probs = draw(rows, generator)
        hidden.append(state)
        mask[:, step], taken[:, step] = active, np.where(active, drawn.numpy(), 0)
        log_probs[:, step] = taken_log_probs
        log_ratios[:, step] = taken_log_probs - reference.gather(-1, drawn[:, None]).squeeze(-1)
        tokens[every[active], (first + step)[active]] = taken[active, step]
        if task.end_token is not None:
            active = active & (taken[:, step] != task.end_token)
        if step + 1 == horizon or not active.any():
            break
        lanes.step(taken[:, step], active)
        if progress is not None:
            progress.append(torch.as_tensor(taken[:, step]))
    hidden += [torch.zeros_like(hidden[0])] * (horizon - len(hidden))
    texts = decoded(task, tokens.tolist(), (first + mask.sum(axis=1)).tolist())
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
    )


def decoded(task: Task, rows: list[list[int]], lengths: list[int]) -> list[str]:
    """Texts of rows of tokens, of which so many count."""
    decode = task.vocabulary.decode
    return [decode(row[:length]) for row, length in zip(rows, lengths, strict=True)]


@torch.no_grad()
def words_along(evidence: WordEvidence, texts: SelfWritten, index: Tensor) -> list[Words]:
    """The words before each of the T steps of the texts ``index`` [n]."""
    mask, actions, tokens = texts.mask[index], texts.actions[index], texts.tokens[index]
    length = tokens.shape[1] + 1
    words = [read_words(evidence, tokens, texts.first[index], length)]
    for step in range(mask.shape[1] - 1):
        words.append(evidence.append(words[-1], actions[:, step], mask[:, step]))
    return words


def heads_read(policy: WordHeads, texts: SelfWritten, index: Tensor) -> tuple[Tensor, Tensor]:
    """pi0's logits and the policy's residual, [M, V] each, at the M steps of the texts ``index`` [n]."""
    mask, before, tokens = texts.mask[index], texts.before(index), texts.tokens[index]
    words = chosen(words_along(policy.words, texts, index), mask)
    sums = policy.tokens.sums(tokens)[..., :-1]
    sums = sums.gather(1, before[..., None].expand(-1, -1, sums.shape[-1]))[mask]
    state = texts.hidden[index][mask].float()
    inputs = policy.encode(state, sums, words, before[mask])
    return state @ policy.unembedding.T, policy.residual(inputs, words)
