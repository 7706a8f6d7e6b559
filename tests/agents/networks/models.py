"""Tiny language models, in memory and as folders, and text tasks on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from klrl_envs import Prompts, TextTask
from klrl_envs.reference.hub import HubReference
from klrl_envs.reference.llama import to_llama
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.transformer import TransformerReference
from klrl_envs.reference.vocabulary import WordVocabulary

WORDS = ("<end>", "the", "film", "is", "good")


def tiny_nano(context: int = 12) -> Nano:
    """Five tokens, two layers, width 8."""
    config = NanoConfig(vocab_size=len(WORDS), width=8, layers=2, heads=2, hidden=12, context=context)
    generator = torch.Generator().manual_seed(0)
    model = Nano(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / (2 if weight.dim() > 1 else 8))
            if weight.dim() == 1:
                weight += 1
    return model.eval().requires_grad_(False)


def nano_reference(model: Nano) -> TransformerReference:
    """A model as pi0."""
    config = model.config
    return TransformerReference(
        lambda: model, name="tiny", fingerprint="0", vocab_size=config.vocab_size, width=config.width,
        context=config.context,
    )  # fmt: skip


def saved_llama(folder: Path) -> HubReference:
    """``tiny_nano`` as somebody's causal model, with a tokenizer of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    table = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="the"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>")
    wrapped.save_pretrained(folder)
    to_llama(tiny_nano(64)).save_pretrained(folder)
    return HubReference(str(folder), folder)


def goodness(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], texts: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The share of the last token among those of a text."""
    inside = np.arange(tokens.shape[1]) < lengths[:, None]
    share = ((tokens == len(WORDS) - 1) & inside).sum(axis=1) / np.maximum(lengths, 1)
    return share, {}


def text_task(reference: Any, *, horizon: int = 3, prompts: Sequence[Sequence[int]] = ((1, 2),)) -> TextTask:
    """Write ``good`` often."""
    return TextTask(
        reference=reference,
        vocabulary=WordVocabulary(WORDS, 0),
        horizon=horizon,
        end_token=0,
        kl_coef=0.2,
        reward_range=(0.0, 1.0),
        reward_fingerprint="goodness",
        prompts=Prompts.padded(prompts, 0),
        score_texts=goodness,
    )
