"""Transformers of one's own."""

from __future__ import annotations

import numpy as np
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


def test_what_was_drawn_is_the_callers(nano_like: TransformerReference) -> None:
    lanes = nano_like.lanes(4, 8)
    lanes.reset(np.arange(4), np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), np.array([2, 1, 2, 2]))
    rows = lanes.log_probs().copy()
    lanes.step(np.array([1, 1, 1, 1]), np.zeros(4, dtype=bool))
    lanes.reset(np.arange(4), np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), np.array([2, 1, 2, 2]))
    tokens = lanes.draw(np.array([0.1, 0.4, 0.6, 0.9]))
    every = np.arange(4)
    np.testing.assert_allclose(lanes.log_prob(tokens), rows[every, tokens], atol=1e-5)
    tokens[:2] = (tokens[:2] + 1) % 40
    np.testing.assert_allclose(lanes.log_prob(tokens), rows[every, tokens], atol=1e-5)
    active = np.array([True, False, True, True])
    asked = lanes.log_prob(np.where(active, tokens, 0), active)
    np.testing.assert_allclose(asked[active], rows[every, tokens][active], atol=1e-5)


def test_a_full_lane_rests_while_others_go_on(nano_like: TransformerReference) -> None:
    lanes, alone = nano_like.lanes(2, 5), nano_like.lanes(1, 5)
    text = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    lanes.reset(np.arange(2), text, np.array([5, 2]))
    alone.reset(np.arange(1), text[1:], np.array([2]))
    full = lanes.log_probs()[0].copy()
    for token in (8, 9, 10):
        lanes.step(np.array([0, token]), np.array([False, True]))
        alone.step(np.array([token]), np.array([True]))
        np.testing.assert_allclose(lanes.log_probs()[1], alone.log_probs()[0], atol=1e-5)
        np.testing.assert_array_equal(lanes.log_probs()[0], full)


def test_a_reference_has_one_copy_on_each_device(nano_like: TransformerReference) -> None:
    elsewhere = nano_like.on("meta")
    assert elsewhere is nano_like.on("meta") is not nano_like
    assert elsewhere.on("cpu") is nano_like and elsewhere.model is not nano_like.model
    assert elsewhere.model.embedding.weight.device.type == "meta"
