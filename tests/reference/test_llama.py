"""The copy of the network in other people's code."""

from __future__ import annotations

import torch

from klrl_envs.reference.llama import to_llama
from klrl_envs.reference.nano import Nano


def test_the_llama_copy_has_the_same_logits(tiny: Nano) -> None:
    tokens = torch.arange(24).reshape(2, 12)
    expected = to_llama(tiny)(tokens).logits
    torch.testing.assert_close(tiny(tokens), expected, atol=1e-4, rtol=1e-4)
