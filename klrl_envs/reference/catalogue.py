"""The references by name: what ships, a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from klrl_envs.reference.language_model import LanguageModel, bigram_model, restricted
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reference.vocabulary import ConversationVocabulary, SymbolVocabulary, WordVocabulary

OWN = "the folder of a causal language model, or a hub id such as 'HuggingFaceTB/SmolLM2-135M-Instruct'"
"""In ``allowed``: whatever is no name of the catalogue."""


def load(name: str, *, allowed: Sequence[str] | None = None, **parameters: Any) -> LanguageModel:
    """The reference called ``name``, with its vocabulary; the last few are kept.

    Args:
        name: of the catalogue ("uniform", "words", "words-trigram", "code", "hinted", "scale", "shop",
            "nano", "sums", "prose"), or the folder of a causal language model, or a hub id that is in the
            local cache.
        allowed: the names that a task can be played on, and ``OWN`` for folders and hub ids; all where None.
        **parameters: of a reference of the catalogue: ``words`` of "uniform" (the tokens' strings; "0" and
            "1" by default), ``kept`` and ``ends`` of "words" (some of the words, and whether the end token
            stays), ``probability`` and ``horizon`` of "scale" (.001 and 8 by default).

    Raises:
        TypeError: a parameter that the reference does not take.
        ValueError: no such name, or one that is not allowed.
        FileNotFoundError: a folder that is not there or has no safetensors weights, or a hub id that was
            never fetched.
    """
    names = list(allowed if allowed is not None else [*CATALOGUE, OWN])
    shown = " or ".join(each if each == OWN else repr(each) for each in names)
    text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    own = text and name not in CATALOGUE and (is_path(name) or (name != "" and os.path.isdir(name)))
    if (OWN if own else name) not in names:
        raise ValueError(f"reference must be {shown}, got {name!r}")
    if own:
        check_parameters(name, parameters, ())
        from klrl_envs.reference.hub import hub_reference

        reference = hub_reference(name)
        return LanguageModel(reference, reference.vocabulary, reference.end_token)
    check_parameters(name, parameters, tuple(inspect.signature(CATALOGUE[name]).parameters))
    return _from_catalogue(name, **{key: _hashable(value) for key, value in parameters.items()})


def check_parameters(name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise TypeError where a reference is given what it does not take."""
    unknown = [each for each in given if each not in known]
    if unknown:
        takes = ", ".join(known) or "nothing beside its name"
        raise TypeError(f"the reference {name!r} takes {takes}, got {unknown[0]!r}")


def is_path(name: str) -> bool:
    """Whether a name can only be a folder or a hub id."""
    return "/" in name or "\\" in name or name.startswith("~")


def _hashable(value: Any) -> Any:
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


@lru_cache(maxsize=16)
def _from_catalogue(name: str, **parameters: Any) -> LanguageModel:
    return CATALOGUE[name](**parameters)


def _uniform(words: tuple[str, ...] = ("0", "1")) -> LanguageModel:
    return bigram_model(words, UniformReference(len(words)), None)


def _words(kept: tuple[str, ...] | None = None, ends: bool = True) -> LanguageModel:
    from klrl_envs.reference.words import END_TOKEN, words_bigram

    whole = bigram_model(*words_bigram(), END_TOKEN)
    return whole if kept is None else restricted(whole, kept, ends=ends)


def _words_trigram() -> LanguageModel:
    from klrl_envs.reference.words import END_TOKEN, words_trigram

    words, reference = words_trigram()
    return LanguageModel(reference, WordVocabulary(words, END_TOKEN), END_TOKEN)


def _code() -> LanguageModel:
    from klrl_envs.reference.code import END_TOKEN, code_bigram

    return bigram_model(*code_bigram(), END_TOKEN)


def _hinted() -> LanguageModel:
    from klrl_envs.reference.hinted import END_TOKEN, SYMBOLS, hinted_bigram

    return LanguageModel(hinted_bigram(), SymbolVocabulary(SYMBOLS, END_TOKEN), END_TOKEN)


def _scale(probability: float = 1e-3, horizon: int = 8) -> LanguageModel:
    from klrl_envs.reference.scale import NOTES, scale_bigram

    return bigram_model(NOTES, scale_bigram(probability, horizon), None)


def _shop() -> LanguageModel:
    from klrl_envs.reference.shop import CLOSINGS, FILMS, shop_bigram, shop_words

    vocabulary = ConversationVocabulary(shop_words(), (*CLOSINGS, *FILMS), ("user", "shop"))
    return LanguageModel(shop_bigram(), vocabulary, None)


def _nano() -> LanguageModel:
    from klrl_envs.reference.byte_pairs import nano_vocabulary
    from klrl_envs.reference.transformer import nano_reference

    vocabulary = nano_vocabulary()
    return LanguageModel(nano_reference(), vocabulary, vocabulary.end_token)


def _sums() -> LanguageModel:
    from klrl_envs.reference.sums import END_TOKEN, sums_reference, sums_vocabulary

    return LanguageModel(sums_reference(), sums_vocabulary(), END_TOKEN)


def _prose() -> LanguageModel:
    from klrl_envs.reference.prose import prose_reference, prose_vocabulary

    vocabulary = prose_vocabulary()
    return LanguageModel(prose_reference(), vocabulary, vocabulary.end_token)


CATALOGUE: dict[str, Callable[..., LanguageModel]] = {
    "uniform": _uniform,
    "words": _words,
    "words-trigram": _words_trigram,
    "code": _code,
    "hinted": _hinted,
    "scale": _scale,
    "shop": _shop,
    "nano": _nano,
    "sums": _sums,
    "prose": _prose,
}
