"""How a prompt's text is put to a language model: as it stands, or as a user's turn in its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from klrl_envs.reference.language_model import LanguageModel

TEMPLATES = ("plain", "chat")


@runtime_checkable
class ChatVocabulary(Protocol):
    """A vocabulary whose model was taught to answer a user."""

    def encode_turn(self, text: str) -> list[int]:
        """Tokens of a user's turn and of all that stands before the answer; ValueError without a template."""
        ...


def check_template(template: str) -> None:
    """Raise ValueError unless ``template`` names one."""
    if template not in TEMPLATES:
        raise ValueError(f"template must be 'plain' or 'chat', got {template!r}")


def put_to(model: LanguageModel, texts: Sequence[str], template: str) -> tuple[list[list[int]], list[str]]:
    """The tokens of prompts with all that a template adds, and their texts as decoding shows them.

    Args:
        model: is asked.
        texts: of the prompts.
        template: "plain", or "chat" for a model with a chat template of its own.

    Raises:
        ValueError: another template, or a model that has none for a chat.
    """
    check_template(template)
    encode = model.vocabulary.encode
    if template == "chat":
        if not isinstance(model.vocabulary, ChatVocabulary):
            raise ValueError(f"the reference {model.reference.name!r} has no chat template; take 'plain'")
        encode = model.vocabulary.encode_turn
    rows = [encode(text) for text in texts]
    return rows, [model.vocabulary.decode(row) for row in rows]
