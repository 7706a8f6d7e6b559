"""Drawing tokens from logits in torch, on their device: one exponential for the draw and for its log-prob."""

from __future__ import annotations

import torch
from torch import Tensor

GROUP = 64
BELOW_ONE = 1 - 2**-23
"""A float32 times this is less than itself."""


def draw_tokens(logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """A token int64 [N] of softmax(logits [N, V]) by its inverse distribution function, and its log-prob [N].

    In two levels, as ``sample_rows`` in NumPy: cumulative sums of blocks of 64 pick a block, that within the
    block picks the token. The probabilities that are drawn from are those that are scored: the log-prob is of
    the token's share in the very sum that the draw ran along.

    Args:
        logits: float32 [N, V], written to.
        uniform: float32 [N] in [0, 1).
    """
    count, size = logits.shape
    if size % GROUP:
        logits = torch.nn.functional.pad(logits, (0, -size % GROUP), value=-torch.inf)
    logits -= logits.amax(dim=1, keepdim=True)
    groups = logits.exp_().view(count, -1, GROUP)
    cumulative = groups.sum(dim=2).cumsum(dim=1)
    total = cumulative[:, -1:]
    target = torch.minimum(uniform[:, None] * total, total * BELOW_ONE)
    block = torch.searchsorted(cumulative, target, right=True)
    before = cumulative.gather(1, (block - 1).clamp_min(0)).masked_fill_(block == 0, 0.0)
    within = groups.gather(1, block[:, :, None].expand(-1, -1, GROUP)).squeeze(1)
    sums = within.cumsum(dim=1)
    # held below the block's own sum, so that rounding never points behind it: a token found has probability
    place = torch.searchsorted(sums, torch.minimum(target - before, sums[:, -1:] * BELOW_ONE), right=True)
    return (block * GROUP + place).squeeze(1), (within.gather(1, place) / total).log_().squeeze(1)
