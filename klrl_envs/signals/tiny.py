"""Tiny tasks: prompts whose texts can all be written down, so that every expectation is a finite sum.

A policy is a table of logits, a row for every prompt and prefix: it can be any law over the texts, so that
where a training ends is the training signal's own doing and no network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

END = 0
"""The token that ends a text; padding is it, too, as in most trainers."""
NEVER = -1e4
"""The logit of a token that is never written: finite, so that p log p is 0 and no gradient is NaN."""

Text = tuple[int, ...]
RowOf = Callable[[int, Text], FloatArray]
"""(prompt, prefix) -> log pi0 of the next token [V]."""


@dataclass(frozen=True, eq=False)
class TinyTask:
    """All texts of a few prompts, what pi0 thinks of them, and what they are paid. P prompts, N texts.

    The last state is that of every token after a text's end: no policy is asked there, but a trainer's
    tensors hold log-probs of it, and a signal that looks at them is found out.

    Attributes:
        tokens: [N, T], padded with ``END``.
        states: [N, T], the row that each token is drawn from.
        mask: [N, T], which tokens belong to the text.
        reference: float64 [P, S, V], log pi0 of every state; the last state's is noise.
        rewards: float64 [P, N], of each whole text.
        kl_coef: reward per nat.
        origin: [N], the text of the task that this one was made of; its own where it was made of none.
        canonical: [N], the text that a tokenizer makes of a text's letters.
    """

    tokens: IntArray
    states: IntArray
    mask: BoolArray
    reference: FloatArray
    rewards: FloatArray
    kl_coef: float
    origin: IntArray
    canonical: IntArray

    @property
    def prompts(self) -> int:
        """P."""
        return len(self.rewards)

    @property
    def texts(self) -> int:
        """N."""
        return len(self.tokens)

    def shifted(self, by: float) -> TinyTask:
        """Every reward moved by a constant: the same optimum."""
        return replace(self, rewards=self.rewards + by)

    def scaled(self, factor: float) -> TinyTask:
        """Rewards and coefficient times a factor: the same optimum."""
        return replace(self, rewards=self.rewards * factor, kl_coef=self.kl_coef * factor)

    def cheaper(self, factor: float) -> TinyTask:
        """The coefficient divided by a factor."""
        return replace(self, kl_coef=self.kl_coef / factor)

    def with_stakes(self, factors: Sequence[float]) -> TinyTask:
        """Each prompt's rewards times a factor of its own."""
        return replace(self, rewards=self.rewards * np.asarray(factors)[:, None])

    def padded(self, columns: int) -> TinyTask:
        """Columns of padding behind every text, as a longer text in the batch brings them."""
        wide = ((0, 0), (0, columns))
        return replace(
            self,
            tokens=np.pad(self.tokens, wide, constant_values=END),
            states=np.pad(self.states, wide, constant_values=self.reference.shape[1] - 1),
            mask=np.pad(self.mask, wide),
        )

    def from_reference(self, reference: FloatArray) -> TinyTask:
        """The same with another pi0, float64 [P, S, V]."""
        return replace(self, reference=reference)

    def cloned(self, word: int, shares: Sequence[float] = (0.6, 0.4)) -> TinyTask:
        """A word that begins a text gets twins, which are paid alike and split its probability there.

        It is the same optimum, summed over twins. ``canonical`` turns twins into the word.

        Args:
            word: not ``END``.
            shares: of the word and of each twin; they sum to 1.
        """
        size = self.reference.shape[2]
        twins = (word, *range(size, size + len(shares) - 1))
        spelled = [
            ((one, *whole[1:]), text)
            for text, whole in enumerate(self.sequences())
            for one in (twins if whole[0] == word else whole[:1])
        ]

        def row(prompt: int, prefix: Text) -> FloatArray:
            plain = self.row_after(prompt, tuple(word if token in twins else token for token in prefix))
            out = np.concatenate([plain, np.full(len(shares) - 1, NEVER)])
            if not prefix:
                out[list(twins)] = plain[word] + np.log(shares)
            return out

        return self._made_of(spelled, row)

    def spelled_longer(self, word: int, length: int = 3) -> TinyTask:
        """A word is written with several tokens, of which all but the first are certain: the same optimum."""
        more = self.reference.shape[2]

        def longer(whole: Text) -> Text:
            return tuple(
                token for one in whole for token in ((one, *[more] * (length - 1)) if one == word else (one,))
            )

        def row(prompt: int, prefix: Text) -> FloatArray:
            begun = [at for at, token in enumerate(prefix) if token == word]
            if begun and len(prefix) - begun[-1] < length:  # in the midst of the word
                return np.array([*[NEVER] * more, 0.0])
            return np.append(self.row_after(prompt, tuple(one for one in prefix if one != more)), NEVER)

        return self._made_of([(longer(one), text) for text, one in enumerate(self.sequences())], row)

    def sequences(self) -> Iterator[Text]:
        """The texts, without padding."""
        for tokens, mask in zip(self.tokens, self.mask):
            yield tuple(tokens[mask].tolist())

    def row_after(self, prompt: int, prefix: Text) -> FloatArray:
        """log pi0 after a prefix [V]."""
        for text, whole in enumerate(self.sequences()):
            if len(whole) > len(prefix) and whole[: len(prefix)] == prefix:
                return self.reference[prompt, self.states[text, len(prefix)]]
        raise ValueError(f"no text begins with {prefix} and goes on")

    def _made_of(self, spelled: Sequence[tuple[Text, int]], row: RowOf) -> TinyTask:
        """Of (text, which text of this task it stands for), and their log pi0."""
        source = np.array([text for _, text in spelled])
        made = tiny_task([one for one, _ in spelled], row, self.rewards[:, source], self.kl_coef)
        first = [int(np.flatnonzero(source == text)[0]) for text in source]
        return replace(made, origin=self.origin[source], canonical=np.array(first))


def tiny_task(sequences: Sequence[Text], row: RowOf, rewards: FloatArray, kl_coef: float) -> TinyTask:
    """The task of some texts.

    Args:
        sequences: N texts; none is the beginning of another, as each is all that is written.
        row: log pi0 of the next token [V], after a prompt and a prefix.
        rewards: float64 [P, N].
        kl_coef: reward per nat.
    """
    texts, longest = len(sequences), max(map(len, sequences))
    prefixes = sorted({whole[:time] for whole in sequences for time in range(len(whole))})
    number = {prefix: state for state, prefix in enumerate(prefixes)}
    tokens = np.full((texts, longest), END)
    states = np.full((texts, longest), len(prefixes))
    for text, whole in enumerate(sequences):
        tokens[text, : len(whole)] = whole
        states[text, : len(whole)] = [number[whole[:time]] for time in range(len(whole))]
    reference = np.array(
        [[row(prompt, prefix) for prefix in prefixes] for prompt in range(len(rewards))], dtype=np.float64
    )
    beyond = np.log(np.random.default_rng(0).dirichlet(np.ones(reference.shape[2]), size=(len(rewards), 1)))
    everything = np.arange(texts)
    return TinyTask(
        tokens=tokens,
        states=states,
        mask=states < len(prefixes),
        reference=np.concatenate([reference, beyond], axis=1),
        rewards=np.asarray(rewards, dtype=np.float64),
        kl_coef=kl_coef,
        origin=everything,
        canonical=everything,
    )


def random_task(
    *,
    prompts: int = 2,
    words: int = 2,
    horizon: int = 2,
    end: bool = True,
    kl_coef: float = 0.3,
    seed: int = 0,
) -> TinyTask:
    """Random rows of pi0, and a random reward in [0, 1] for each whole text.

    Args:
        prompts: P.
        words: how many, beside ``END``.
        horizon: the most tokens of a text.
        end: whether a text may end before.
        kl_coef: reward per nat.
        seed: of rows and rewards.
    """
    generator = np.random.default_rng(seed)
    letters = range(1, words + 1)
    sequences = [
        (*body, END) for length in range(horizon if end else 0) for body in product(letters, repeat=length)
    ] + list(product(letters, repeat=horizon))
    size = words + 1
    rows: dict[tuple[int, Text], FloatArray] = {}

    def row(prompt: int, prefix: Text) -> FloatArray:
        if (prompt, prefix) not in rows:
            drawn = np.log(generator.dirichlet(np.full(size - (not end), 3.0)))
            rows[prompt, prefix] = drawn if end else np.concatenate([[NEVER], drawn])
        return rows[prompt, prefix]

    return tiny_task(sequences, row, generator.random((prompts, len(sequences))), kl_coef)
