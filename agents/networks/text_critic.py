"""The critic of language models: what a text so far is worth, by its hidden state and by its words."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from klrl_envs import Task
from klrl_envs.networks.evidence import TextEvidence
from klrl_envs.networks.perceptron import perceptron


class TextCritic(nn.Module):
    """A head on hidden states, learnt sums over the text (``TextEvidence``) and the share that is written.

    A hidden state is made to tell the next token; what a reward likes in the tokens so far is told better by
    sums over them, which nothing but the critic's own regression teaches.

    Args:
        task: a neural task.
        width: of the hidden states.
        size: of the evidence's embeddings.
    """

    def __init__(self, task: Task, width: int, size: int = 64) -> None:
        super().__init__()
        self.longest = task.max_length
        self.evidence = TextEvidence(task.vocab_size, size)
        self.head = perceptron(width + size + 2, 256, 1)

    def forward(self, hidden: Tensor, tokens: Tensor, first: Tensor) -> Tensor:
        """Values [n, T], nats above the level that they begin at.

        Args:
            hidden: [n, T, width], before each token of the texts.
            tokens: int64 [n, L], prompt and text, padded.
            first: int64 [n], where the text begins.
        """
        steps = torch.arange(hidden.shape[1], device=hidden.device)
        before = (first[:, None] + steps).clamp_max(tokens.shape[1])[..., None]
        sums = self.evidence.sums(tokens)
        sums = sums.gather(1, before.expand(-1, -1, sums.shape[-1])) / before.clamp_min(1).sqrt()
        return self.head(torch.cat((hidden, sums, before / self.longest), dim=-1)).squeeze(-1)

    @torch.no_grad()
    def raise_by(self, nats: Tensor) -> None:
        """Add a constant to all values."""
        last = cast(nn.Linear, self.head[-1])
        last.bias.add_(nats)
