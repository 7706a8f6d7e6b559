"""Rows of log-probs: draws, and the gradient that is written by hand."""

from __future__ import annotations

import torch

from agents.networks.categorical import ResidualScores, divergence, draw


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
