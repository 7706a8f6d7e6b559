"""A tiny transformer: in memory, and saved as a user of the hub would have it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from klrl_envs.reference.hub import HubReference, hub_reference
from klrl_envs.reference.llama import to_llama
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.transformer import TransformerReference

TINY = NanoConfig(vocab_size=40, width=32, layers=2, heads=2, hidden=48, context=24)


@pytest.fixture(scope="session")
def tiny() -> Nano:
    torch.manual_seed(0)
    model = Nano(TINY)
    torch.nn.init.normal_(model.embedding.weight, std=0.5)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def nano_like(tiny: Nano) -> TransformerReference:
    return TransformerReference(
        lambda: tiny, name="tiny", fingerprint="0", vocab_size=40, width=32, context=TINY.context
    )


@pytest.fixture(scope="session")
def folder(tiny: Nano, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved causal LM with its own word-level tokenizer, as a user of the hub would have it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("model")
    words = ["<end>", "<unknown>", "this", "film", "is", "was", "a", "the", "good", "bad"]
    table = {word: index for index, word in enumerate(words)}
    table |= {f"w{index}": index for index in range(len(words), TINY.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>", unk_token="<unknown>"
    )
    wrapped.save_pretrained(path)
    to_llama(tiny).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def hub(folder: Path) -> HubReference:
    return hub_reference(str(folder))
