"""Draws in torch: the law of the softmax, and the log-prob of the very token that was drawn."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from klrl_envs.reference.draws import draw_tokens
from klrl_envs.reference.sampling import tokens_at


@pytest.mark.parametrize("size", [3, 64, 100, 2048])
def test_tokens_follow_the_softmax_and_carry_its_log_probs(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    logits = 2 * torch.randn(1, size, generator=generator)
    draws = 50_000
    seen = torch.zeros(size)
    for _ in range(10):
        uniform = torch.rand(draws // 10, generator=generator)
        tokens, log_probs = draw_tokens(logits.repeat(draws // 10, 1), uniform)
        seen += torch.bincount(tokens, minlength=size)
        np.testing.assert_allclose(log_probs, logits.log_softmax(1)[0, tokens], atol=2e-6)
    expected = draws * logits.double().softmax(1)[0].numpy()
    often = expected > 5
    groups = np.append(expected[often], expected[~often].sum() + 1e-9)
    counted = np.append(seen.numpy()[often], seen.numpy()[~often].sum())
    assert chisquare(counted, groups * counted.sum() / groups.sum()).pvalue > 1e-3


def test_numpy_and_torch_draw_the_same_tokens_from_the_same_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 300, generator=generator)
    uniform = torch.rand(4000, generator=generator)
    tokens, _ = draw_tokens(logits.clone(), uniform)
    rows = logits.double().log_softmax(1).numpy()
    assert (tokens.numpy() == tokens_at(rows, uniform.double().numpy())).mean() > 0.999


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.full((5, 130), -torch.inf)
    logits[:, 70] = 3.0
    for number in (0.0, 0.5, 1 - 2**-24):
        tokens, log_probs = draw_tokens(logits.clone(), torch.full((5,), number))
        assert (tokens == 70).all() and (log_probs == 0).all()
    spread = torch.full((1, 256), -torch.inf)
    spread[0, [3, 65, 200]] = torch.tensor([0.0, -30.0, -1.0])
    for number in np.linspace(0, 1 - 2**-24, 1001, dtype=np.float32):
        token, _ = draw_tokens(spread.clone(), torch.tensor([number]))
        assert torch.isfinite(spread[0, token]).all()
