"""Distributions over tokens as rows of log-probs: how they are drawn from, scored and compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def divergence(rows: Tensor, reference: Tensor) -> Tensor:
    """Exact KL(pi || pi0) [...], nats, of rows [..., V] of log-probs."""
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
    p = pi and d = log pi - log pi0. This takes a third of the passes over [M, V] that automatic
    differentiation takes.
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
