"""Neural tasks: a causal language model and a function from texts to rewards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from klrl_envs import ledger
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.vocabulary import PromptVocabulary
from klrl_envs.tasks.base import Metrics, Prompts, ScoreTexts, Task

Summarise = Callable[[IntArray, FloatArray, Mapping[str, FloatArray]], dict[str, float]]
"""(prompts int64 [E] by their numbers, rewards float64 [E], metrics [E] by name) -> numbers by name."""


@runtime_checkable
class Answered(Protocol):
    """A function from texts to rewards that compares them with answers."""

    @property
    def answers(self) -> Sequence[str]:
        """Of all prompts, in any order."""
        ...


@dataclass(frozen=True, eq=False)
class CountedScores:
    """A task's scoring function, which counts the texts that it is asked about."""

    task: TextTask
    function: ScoreTexts

    def __call__(
        self, tokens: IntArray, lengths: IntArray, texts: Sequence[str]
    ) -> tuple[FloatArray, Metrics]:
        """As the function's; all but the shortest prompt counts as written."""
        self.task.count(np.maximum(lengths - self.task.prompts.lengths.min(), 0), texts)
        return self.function(tokens, lengths, texts)


@dataclass(frozen=True, eq=False, kw_only=True)
class TextTask(Task):
    """A causal language model and a function from texts to rewards, paid once, at the end.

    Attributes:
        score_texts: (tokens [K, L], lengths [K], texts) -> rewards float64 [K] and metrics.
        summarise: what only many episodes together show; None where there is no such thing.
    """

    score_texts: ScoreTexts
    summarise: Summarise | None = None

    @classmethod
    def of(cls, model: LanguageModel, **fields: Any) -> Self:
        """A task on a language model, which says what pi0 is, what its tokens mean and which one ends a text.

        Args:
            model: the reference with its vocabulary.
            **fields: all others of the task.
        """
        return cls(
            reference=model.reference, vocabulary=model.vocabulary, end_token=model.end_token, **fields
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.score_texts
        function = given.function if isinstance(given, CountedScores) else given
        object.__setattr__(self, "score_texts", CountedScores(self, function))

    @property
    def _function(self) -> ScoreTexts:
        """The scoring function, for texts that are counted elsewhere."""
        return self.score_texts.function if isinstance(self.score_texts, CountedScores) else self.score_texts

    @property
    def commonest_answer(self) -> str | None:
        """See ``Task``."""
        function = self._function
        return Counter(function.answers).most_common(1)[0][0] if isinstance(function, Answered) else None

    def score(
        self, tokens: IntArray, lengths: IntArray, *, counted: bool = False
    ) -> tuple[FloatArray, Metrics]:
        """Rewards float64 [K] and metrics (the texts among them) of finished tokens [K, L]; see ``Task``."""
        rows = zip(tokens, lengths, strict=True)
        texts = [self.vocabulary.decode(row[:length].tolist()) for row, length in rows]
        rewards, metrics = (self._function if counted else self.score_texts)(tokens, lengths, texts)
        return rewards, {"text": np.array(texts, dtype=object), **metrics}

    def summaries(
        self, prompts: IntArray, rewards: FloatArray, metrics: Mapping[str, FloatArray]
    ) -> dict[str, float]:
        """See ``Task``."""
        return {} if self.summarise is None else self.summarise(prompts, rewards, metrics)

    def text_rewards(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> FloatArray:
        """See ``Task``. Prompt and completion are scored as one text, joined as they are."""
        given = [None] * len(completions) if tokens is None else tokens
        parts = zip(prompts, completions, given, strict=True)
        texts = [prompt + self.kept(completion, ids, prompt) for prompt, completion, ids in parts]
        rows = Prompts.padded([self.vocabulary.encode(text) or [self.pad] for text in texts], self.pad)
        lengths = np.where(rows.tokens[:, 0] == self.pad, 0, rows.lengths)
        self.count(self.token_counts(prompts, completions, tokens), texts)
        return self._function(rows.tokens, lengths, texts)[0]

    def count(self, written: IntArray, texts: Sequence[str]) -> None:
        """Count texts that are rewarded, of which written int64 [K] tokens are the agent's.

        A text that begins with an evaluation prompt is one of those, whatever the task's own prompts are.
        """
        foreign = np.array([text.startswith(self._evaluation_prompts) for text in texts], dtype=np.bool_)
        for split, chosen in ((self.split, ~foreign), ("evaluation", foreign)):
            ledger.count(self.id, split, int(written[chosen].sum()), int(chosen.sum()))

    @cached_property
    def _evaluation_prompts(self) -> tuple[str, ...]:
        """The texts of the evaluation prompts, on the training prompts' task; none on another."""
        if self.source is None or self.split != "train":
            return ()
        other = self.source.task(prompts="evaluation")
        return tuple(other.text(row) for row in other.padded_prompts)

    def kept(self, completion: str, tokens: Sequence[int] | None = None, prompt: str = "") -> str:
        """What the horizon has room for of a completion behind a prompt.

        An episode's text is kept whole, though its spelling may have more tokens than were written: what
        counts is whether so many tokens can be decoded to it.
        """
        vocabulary = self.vocabulary_after(prompt)
        own = None if tokens is None else self.own_tokens(completion, tokens, prompt)
        if own is not None:
            return vocabulary.decode(own)
        written = vocabulary.encode(completion)
        if len(written) <= self.horizon or vocabulary.least_tokens(completion) <= self.horizon:
            return completion
        if isinstance(vocabulary, PromptVocabulary):
            return vocabulary.beginning(completion, self.horizon)
        return vocabulary.decode(written[: self.horizon])
