"""The file of ``prose`` as a network and as pi0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from klrl_envs.assets import file_digest
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.prose import read_network, reference_of

SHAPE = NanoConfig(vocab_size=50, width=24, layers=2, heads=4, hidden=40, context=192)


def test_the_numbers_of_the_file_are_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Nano(SHAPE), tmp_path / "prose.safetensors"
    save_file({name: value.half() for name, value in model.state_dict().items()}, path)
    read = read_network(path)
    assert read.config == SHAPE and not read.training
    for name, value in read.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, model.state_dict()[name].half().float(), rtol=0, atol=0)
    reference = reference_of(path)
    assert (reference.name, reference.fingerprint) == ("prose", file_digest(path))
    assert (reference.vocab_size, reference.width, reference.longest) == (50, 24, 191)
    tokens = np.array([[3, 4, 5, 6]])
    rows = read(torch.tensor([[0, 3, 4, 5]]))[0].log_softmax(dim=-1)
    expected = rows[torch.arange(4), torch.as_tensor(tokens[0])]
    found = reference.sequence_log_probs(tokens, np.array([0]), np.array([4]))
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-5)
