"""Rows of log-probs: draws, and the gradient that is written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from agents.networks.categorical import (
    STRIDE,
    ResidualScores,
    SharedScores,
    divergence,
    draw,
    draw_weighted,
)


def test_the_gradient_of_the_scores_is_that_of_their_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn((5, 7), generator=generator, dtype=torch.float64).log_softmax(-1)
    residual = torch.randn((5, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([0, 6, 3, 3, 1])
    taken, kl = ResidualScores.apply(reference, residual, actions)  # type: ignore[misc]
    rows = (reference + residual).log_softmax(-1)
    torch.testing.assert_close(taken, rows.gather(1, actions[:, None]).squeeze(1))
    torch.testing.assert_close(kl, divergence(rows, reference))
    assert torch.autograd.gradcheck(
        lambda given: ResidualScores.apply(reference, given, actions), (residual,)
    )


def test_draws_follow_the_rows() -> None:
    rows = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).expand(20_000, 3)
    tokens, log_probs = draw(rows, torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens, minlength=3) / len(tokens)
    assert (shares - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 0.015
    torch.testing.assert_close(log_probs, rows[0][tokens])


@pytest.mark.parametrize("elsewhere", [False, True])
def test_shared_scores_and_their_gradient_are_those_of_the_rows(elsewhere: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((4, 7), generator=generator, dtype=torch.float64).log_softmax(-1)
    reference = torch.randn((4, 7), generator=generator, dtype=torch.float64).log_softmax(-1)
    reference = reference if elsewhere else logits
    changed = logits.exp() * (logits - reference) if elsewhere else None
    residual = torch.randn((3, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    state, context = torch.tensor([0, 2, 0, 0, 2, 0]), torch.tensor([3, 1, 3, 0, 1, 3])
    actions = torch.tensor([0, 6, 3, 3, 6, 0])

    def scores(given: Tensor) -> tuple[Tensor, Tensor]:
        return SharedScores.apply(given, logits.exp(), changed, state, context, actions)  # type: ignore[misc]

    taken, kl = scores(residual)
    rows = (logits[context] + residual[state]).log_softmax(-1)
    expected = (rows - logits[context]).gather(1, actions[:, None]).squeeze(1)
    torch.testing.assert_close(taken, expected)
    torch.testing.assert_close(kl, divergence(rows, reference[context]))
    assert torch.autograd.gradcheck(scores, (residual,))
    for place in (0, 1):  # a loss that leaves one of the two out
        assert torch.autograd.gradcheck(lambda given, place=place: scores(given)[place], (residual,))


@pytest.mark.parametrize("size", [3, STRIDE, 2 * STRIDE, 2 * STRIDE + 5, 3 * STRIDE - 1])
def test_weighted_draws_follow_the_weights(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(size, generator=generator) ** 4 * 7
    weights[size // 2 :: 3] = 0
    count = 40_000
    tokens = draw_weighted(weights.expand(count, size), generator)
    seen = torch.bincount(tokens, minlength=size)
    assert len(seen) == size and not seen[weights == 0].any()
    expected = weights / weights.sum()
    spread = (count * expected * (1 - expected)).sqrt().clamp_min(1)
    assert ((seen - count * expected).abs() / spread).max() < 5
