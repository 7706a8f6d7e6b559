"""``prose``, the transformer that summarises, translates and answers: its vocabulary and its weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from klrl_envs.assets import asset_digest, asset_path, file_digest
from klrl_envs.reference.slot_words import SlotVocabulary
from klrl_envs.reference.transformer import TransformerReference, network_of

if TYPE_CHECKING:
    from klrl_envs.reference.nano import Nano

VOCABULARY = "prose.vocabulary.json"
WEIGHTS = "prose.safetensors"
WIDTH = 256
HEADS = 4
CONTEXT = 192


@lru_cache(maxsize=1)
def prose_vocabulary() -> SlotVocabulary:
    """The vocabulary that ships; it has yet to be told of prompts."""
    return SlotVocabulary.load(asset_path(VOCABULARY))


@lru_cache(maxsize=1)
def prose_reference() -> TransformerReference:
    """The shipped reference."""
    return TransformerReference(
        lambda: read_network(asset_path(WEIGHTS)),
        name="prose",
        fingerprint=asset_digest(WEIGHTS),
        vocab_size=prose_vocabulary().size,
        width=WIDTH,
        context=CONTEXT,
    )


def read_network(path: Path, heads: int = HEADS, context: int = CONTEXT) -> Nano:
    """The network of a file, of the shape of its weights, on the CPU, in float32 and without gradients."""
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    from klrl_envs.reference.nano import NanoConfig

    weights = load_file(path)
    vocab_size, width = weights["embedding.weight"].shape
    shape = NanoConfig(
        vocab_size=vocab_size,
        width=width,
        layers=sum(name.endswith(".down.weight") for name in weights),
        heads=heads,
        hidden=weights["blocks.0.down.weight"].shape[1],
        context=context,
    )
    return network_of(shape, weights)


def reference_of(path: Path, heads: int = HEADS, context: int = CONTEXT) -> TransformerReference:
    """The network of a file as pi0."""
    model = read_network(path, heads, context)
    return TransformerReference(
        lambda: model,
        name="prose",
        fingerprint=file_digest(path),
        vocab_size=model.config.vocab_size,
        width=model.config.width,
        context=context,
    )
