"""What a training signal is given: a batch of texts, as a trainer has it when it computes its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """B texts of at most T tokens over a vocabulary of V, in groups of G texts of one prompt.

    Log-probs are in nats, float64, and stand at padding, too, where they mean nothing: ``mask`` says where.

    Attributes:
        log_probs: [B, T], of the policy that is trained, of the tokens that were written; with gradient.
        old_log_probs: [B, T], of the policy that wrote them.
        reference_log_probs: [B, T], of pi0.
        logits: [B, T, V], whole rows of the policy as log-probs; with gradient.
        reference_logits: [B, T, V], whole rows of pi0.
        tokens: int64 [B, T].
        mask: [B, T], 1 where a token belongs to its text (an end token does), 0 at padding.
        rewards: [B], of whole texts, without any KL.
        groups: int64 [B], 0, 0, ..., 1, 1, ...: which texts are of one prompt and to be compared.
        group_size: G; texts of a group lie side by side.
        kl_coef: reward per nat.
    """

    log_probs: torch.Tensor
    old_log_probs: torch.Tensor
    reference_log_probs: torch.Tensor
    logits: torch.Tensor
    reference_logits: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor
    rewards: torch.Tensor
    groups: torch.Tensor
    group_size: int
    kl_coef: float


Loss = Callable[[Batch], torch.Tensor]
"""A training signal: what a trainer would call ``backward`` on; it keeps nothing from call to call."""
