"""The vocabulary of a Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class HubVocabulary:
    """A Hugging Face tokenizer; special tokens are not shown, and no text has the start token itself."""

    def __init__(self, tokenizer: Any, size: int, start_token: int | None = None) -> None:
        self._tokenizer, self.size, self._start_token = tokenizer, size, start_token

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids."""
        ids = [int(token) for token in tokens]
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self._tokenizer.save_pretrained(folder)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def encode_turn(self, text: str) -> list[int]:
        """Token ids of a user's turn in the model's chat template, up to where the answer begins, without
        the start token, which many templates begin with.

        Raises:
            ValueError: the model has no chat template.
        """
        if not self._tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template; take template 'plain'")
        turns = [{"role": "user", "content": text}]
        shown = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        tokens = self.encode(shown)
        return tokens[1:] if tokens[:1] == [self._start_token] else tokens

    def least_tokens(self, text: str) -> int:
        """As many as ``encode`` has, where U+FFFD, the end of a token within a character, counts as one."""
        pieces = text.split("\ufffd")
        counted = len(pieces) - 1 + sum(len(self.encode(piece)) for piece in pieces)
        return min(counted, len(self.encode(text)))

    def token_string(self, token: int) -> str:
        """One token as it is listed."""
        if not 0 <= token < self.size:
            raise ValueError(f"token is {token}, allowed: 0 to {self.size - 1}")
        return self._tokenizer.decode([int(token)], clean_up_tokenization_spaces=False)
