"""Transformers of one's own."""

from __future__ import annotations

import pytest
import torch

from klrl_envs.reference.nano import Nano, rotate
from klrl_envs.reference.transformer import TransformerReference, token_log_probs


def test_token_log_probs_are_differentiable(tiny: Nano) -> None:
    model = Nano(tiny.config)
    model.load_state_dict(tiny.state_dict())
    token_log_probs(model, torch.arange(12).reshape(2, 6), skip=2).sum().backward()
    assert model.embedding.weight.grad is not None
    assert float(model.embedding.weight.grad.abs().sum()) > 0


def test_a_text_beyond_the_context_is_refused(nano_like: TransformerReference) -> None:
    with pytest.raises(
        ValueError, match="need 26 positions with the start token, the network's context has 24"
    ):
        nano_like.lanes(1, 25)


def test_what_turns_keeps_its_inner_products_with_what_turns_as_far() -> None:
    query, key = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.5, 0.2, 0.1]))
    cosine, sine = angles.cos(), angles.sin()

    def by_halves(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)

    turned = rotate(query, cosine, sine) @ rotate(key, cosine, sine).T
    torch.testing.assert_close(turned, by_halves(query) @ by_halves(key).T)
