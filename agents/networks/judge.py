"""What tells texts of one policy from those of another: a number in nats, of the words of a text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from klrl_envs import Task
from klrl_envs.networks.perceptron import perceptron

PAIRS = 1 << 16
"""Places of a table for the pairs of neighbours; several pairs may share one."""
SPREAD = 0x9E3779B1
"""A prime without pattern, by which pairs are spread over the places."""


class Judge(nn.Module):
    """f(x) of a text: the sum of the weights of its distinct tokens and pairs of neighbours, and a network of
    that sum, of sums of embeddings, and of the length. It is zero at first.

    Args:
        task: whose texts are judged.
        size: of the embeddings.
        width: of the network's hidden layers.
    """

    def __init__(self, task: Task, size: int = 16, width: int = 64) -> None:
        super().__init__()
        self.vocab_size, self.pad, self.longest = task.vocab_size, task.pad, task.max_length
        self.weights = nn.Embedding(task.vocab_size, 1)
        self.pairs = nn.Embedding(PAIRS, 1)
        self.embedding = nn.Embedding(task.vocab_size, size)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.pairs.weight)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.head = perceptron(size + 2, width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """f [N], nats, of texts int64 [N, L], prompts included, padded."""
        # up to the pads at its end: a prompt may have end tokens within, as the turns of a chat do
        there = (tokens != self.pad).flip(1).cumsum(1).flip(1) > 0
        known = tokens.clamp_max(self.vocab_size - 1)
        pair = (known[:, :-1] * self.vocab_size + known[:, 1:]) * SPREAD % PAIRS
        once, pair_once = first_of_each(tokens, there), first_of_each(pair, there[:, 1:])
        total = (self.weights(known).squeeze(-1) * once).sum(dim=1)
        total = total + (self.pairs(pair).squeeze(-1) * pair_once).sum(dim=1)
        length = there.sum(dim=1, keepdim=True)
        sums = (self.embedding(known) * once[..., None]).sum(dim=1) / length.clamp_min(1).sqrt()
        read = torch.cat((sums, total[:, None], length / self.longest), dim=1)
        return total + self.head(read).squeeze(-1)


def first_of_each(values: Tensor, there: Tensor) -> Tensor:
    """Bool [N, L]: whether a value that is there is the first of its kind in its row."""
    equal = values[:, :, None] == values[:, None, :]
    before = torch.ones(equal.shape[1:], dtype=torch.bool, device=values.device).tril(-1)
    return there & ~(equal & before & there[:, None, :]).any(dim=2)
