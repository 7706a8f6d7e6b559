"""Neural tasks: a causal language model and a function from texts to rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.base import Metrics, Prompts, ScoreTexts, Task


@dataclass(frozen=True, eq=False, kw_only=True)
class TextTask(Task):
    """A causal language model and a function from texts to rewards, paid once, at the end.

    Attributes:
        score_texts: (tokens [K, L], lengths [K], texts) -> rewards float64 [K] and metrics.
    """

    score_texts: ScoreTexts

    def score(self, tokens: IntArray, lengths: IntArray) -> tuple[FloatArray, Metrics]:
        """Rewards float64 [K] and metrics (the texts among them) of finished tokens [K, L]."""
        rows = zip(tokens, lengths, strict=True)
        texts = [self.vocabulary.decode(row[:length].tolist()) for row, length in rows]
        rewards, metrics = self.score_texts(tokens, lengths, texts)
        return rewards, {"text": np.array(texts, dtype=object), **metrics}

    def text_rewards(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> FloatArray:
        """See ``Task``. Prompt and completion are scored as one text, joined as they are."""
        given = [None] * len(completions) if tokens is None else tokens
        parts = zip(prompts, completions, given, strict=True)
        texts = [prompt + self.kept(completion, ids) for prompt, completion, ids in parts]
        rows = Prompts.padded([self.vocabulary.encode(text) or [self.pad] for text in texts], self.pad)
        lengths = np.where(rows.tokens[:, 0] == self.pad, 0, rows.lengths)
        return self.score_texts(rows.tokens, lengths, texts)[0]

    def kept(self, completion: str, tokens: Sequence[int] | None = None) -> str:
        """What the horizon has room for of a completion.

        An episode's text is kept whole, though its spelling may have more tokens than were written: what
        counts is whether so many tokens can be decoded to it.
        """
        own = None if tokens is None else self.own_tokens(completion, tokens)
        if own is not None:
            return self.vocabulary.decode(own)
        written = self.vocabulary.encode(completion)
        if len(written) <= self.horizon or self.vocabulary.least_tokens(completion) <= self.horizon:
            return completion
        return self.vocabulary.decode(written[: self.horizon])
