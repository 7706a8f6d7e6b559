"""Transformers of one's own."""

from __future__ import annotations

import pytest
import torch

from klrl_envs.reference.nano import Nano
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
