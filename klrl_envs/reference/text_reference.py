"""The references of neural tasks by name: the shipped transformer, a folder, or a hub id."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from klrl_envs.reference.byte_pairs import nano_vocabulary
from klrl_envs.reference.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class TextReference:
    """A causal language model with its vocabulary and the token that ends a text."""

    reference: Any  # a NeuralReference; pyright takes no cached_property for a property of a protocol
    vocabulary: Vocabulary
    end_token: int | None


@lru_cache(maxsize=8)
def text_reference(name: str) -> TextReference:
    """The reference called ``name``: "nano", a folder, or a hub id that is in the local cache.

    Raises:
        ValueError: no such name.
        FileNotFoundError: a hub id that was never fetched, or a folder without safetensors weights.
    """
    if name == "nano":
        from klrl_envs.reference.transformer import nano_reference

        vocabulary = nano_vocabulary()
        return TextReference(nano_reference(), vocabulary, vocabulary.end_token)
    if not isinstance(name, str) or not ("/" in name or Path(name).is_dir()):
        raise ValueError(
            f"unknown reference {name!r}; allowed are 'nano', the folder of a causal language model, "
            "or a hub id such as 'HuggingFaceTB/SmolLM2-135M-Instruct'"
        )
    from klrl_envs.reference.hub import hub_reference

    reference = hub_reference(name)
    return TextReference(reference, reference.vocabulary, reference.end_token)
