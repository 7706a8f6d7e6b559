"""Distributions over tokens as rows of log-probs: how they are drawn from, scored and compared."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

STRIDE = 64


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


def likeliest(log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token [N] of each row of log_probs [N, V], and its log-prob [N]."""
    found, tokens = log_probs.max(dim=-1)
    return tokens, found


def draw_weighted(weights: Tensor, generator: torch.Generator) -> Tensor:
    """A token [N] of each row of weights [N, V], in proportion to them: no row need sum to one.

    In two levels: first which tokens of those that are equal modulo ``STRIDE``, whose sums are one pass over
    the rows, then which of these. A running sum of the whole row costs several passes.
    """
    count, size = weights.shape
    first, second = torch.rand((2, count, 1), generator=generator, device=weights.device, dtype=weights.dtype)
    deep, rest = divmod(size, STRIDE)
    if deep < 2:
        return place_of(weights, first).squeeze(-1)
    sums = weights[:, : deep * STRIDE].unflatten(1, (deep, STRIDE)).sum(dim=1)
    sums[:, :rest] += weights[:, deep * STRIDE :]
    column = place_of(sums, first)
    tokens = column + torch.arange(0, size, STRIDE, device=weights.device)
    inside = weights.gather(1, tokens.clamp_max_(size - 1))
    if rest:
        inside[:, -1:].masked_fill_(column >= rest, 0)
    return (column + STRIDE * place_of(inside, second)).squeeze(-1)


def place_of(weights: Tensor, uniform: Tensor) -> Tensor:
    """The column [N, 1] into which numbers [N, 1] in [0, 1) fall, of columns as wide as weights [N, K]."""
    cumulative = weights.cumsum(dim=-1)
    # below the very end, behind which there may be columns without width
    drawn = uniform * (cumulative[:, -1:] * (1 - torch.finfo(weights.dtype).eps))
    return torch.searchsorted(cumulative, drawn, right=True)


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


@cache
def allow_sparse() -> None:
    """Take the note that compressed rows are new in torch, once, so that no training shows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([0])[:0], torch.zeros(0), (1, 1))


def sampled_products(first: Tensor, left: Tensor, context: Tensor, right: Tensor) -> Tensor:
    """left[u] . right[context] of pairs [P], ascending by u: ``first`` [U + 1] is where each u begins."""
    allow_sparse()
    size = (len(left), len(right))
    pairs = torch.sparse_csr_tensor(first, context, left.new_zeros(len(context)), size)
    return torch.sparse.sampled_addmm(pairs, left, right.t(), beta=0.0).values()


class SharedScores(torch.autograd.Function):
    """The scores of steps that share residuals: pi = softmax(log base(.|context) + residual[state]).

    Of M steps, U have a residual of their own and K a context, so that with E = exp(residual) the sums over
    the vocabulary are products base[context] . E[state], one for each pair that occurs. No row [M, V] is
    made, forward or backward, and nothing is exponentiated more than once a state.

    With g and h the gradients of log pi and of the KL, that of a residual is, summed over its steps,
    g 1_a + E [ (h / Z) base (residual + change - log Z - KL) - (g / Z) base ].
    """

    @staticmethod
    def forward(
        ctx: Any,
        residual: Tensor,
        base: Tensor,
        changed: Tensor | None,
        state: Tensor,
        context: Tensor,
        actions: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The scores of M steps.

        Args:
            ctx: torch's.
            residual: [U, V].
            base: [K, V], probabilities.
            changed: [K, V], base (log base - log pi0), where the KL is to another pi0 than base.
            state, context, actions: int64 [M], rows of residual and of base, and tokens.

        Returns:
            log pi - log base of the tokens taken, and exact KL(pi || pi0), [M] each, nats.
        """
        shifted = residual.log_softmax(
            dim=-1
        )  # by a constant of each row, so that no exponential is too large
        raised = shifted.exp()
        pairs, place = torch.unique(state * len(base) + context, return_inverse=True)
        of_state, of_context = pairs // len(base), pairs % len(base)
        first = torch.searchsorted(of_state, torch.arange(len(residual) + 1, device=pairs.device))
        total = sampled_products(first, raised, of_context, base)
        kl = sampled_products(first, raised * shifted, of_context, base)
        if changed is not None:
            kl += sampled_products(first, raised, of_context, changed)
        log_total = total.log()
        kl = kl / total - log_total
        taken = shifted[state, actions] - log_total[place]
        ctx.save_for_backward(shifted, raised, base, changed, place, state, actions)
        ctx.pairs = (first, of_context, total, log_total + kl)
        ctx.set_materialize_grads(False)
        return taken, kl[place]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None, None, None]:
        """The gradient of the residuals alone."""
        shifted, raised, base, changed, place, state, actions = ctx.saved_tensors
        first, context, total, middle = ctx.pairs
        of_taken, of_kl = gradients

        def gathered(weights: Tensor, table: Tensor) -> Tensor:
            """Sums [U, V] over the pairs of each state of rows of a table, weighted."""
            return functional.embedding_bag(
                context, table, first[:-1], mode="sum", per_sample_weights=weights / total
            )

        def of_pairs(values: Tensor) -> Tensor:
            """Sums over the steps of each pair."""
            return torch.zeros_like(total).index_add_(0, place, values)

        weights = torch.zeros_like(total)
        if of_taken is not None:
            weights -= of_pairs(of_taken)
        if of_kl is not None:
            of_kl = of_pairs(of_kl)
            weights -= of_kl * middle
        result = gathered(weights, base)
        if of_kl is not None:
            result.addcmul_(gathered(of_kl, base), shifted)
            if changed is not None:
                result += gathered(of_kl, changed)
        result *= raised
        if of_taken is not None:
            result.view(-1).index_add_(0, state * result.shape[1] + actions, of_taken)
        return result, None, None, None, None, None
