"""What a task is: a reference, a horizon, prompts and a reward. Two kinds, exact and neural."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reference.protocol import IntArray, Reference
from klrl_envs.reference.vocabulary import Vocabulary
from klrl_envs.reward.automaton import RewardAutomaton

Metrics = dict[str, NDArray[Any]]
ScoreTexts = Callable[[IntArray, IntArray, Sequence[str]], tuple[NDArray[np.float64], Metrics]]


@dataclass(frozen=True, eq=False)
class Prompts:
    """Token ids [M, P], padded on the right, and the length of each prompt [M]."""

    tokens: IntArray
    lengths: IntArray

    @classmethod
    def none(cls) -> Prompts:
        """One empty prompt."""
        return cls(np.zeros((1, 0), dtype=np.int64), np.zeros(1, dtype=np.int64))

    @classmethod
    def equal(cls, tokens: NDArray[np.integer]) -> Prompts:
        """Prompts [M, P] that are all P tokens long."""
        return cls(tokens.astype(np.int64), np.full(len(tokens), tokens.shape[1], dtype=np.int64))


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """The data of an environment; ``AutomatonTask`` and ``TextTask`` add the reward.

    Attributes:
        id: the environment's id without the namespace, such as ``"Keywords-v0"``.
        reference: pi0.
        vocabulary: how tokens are shown.
        horizon: the most tokens that are written, T.
        end_token: the token that ends an episode, or None.
        kl_coef: the price of a nat of KL, in units of reward.
        reward_range: bounds (a, b) of the episode's total reward, by definition of the task.
        prompts: the prompts of the chosen split.
        reward_fingerprint: SHA-256 of what determines the reward.
        source: registry id and arguments from which ``make_task`` makes this task again, or None.
    """

    id: str
    reference: Reference
    vocabulary: Vocabulary
    horizon: int
    end_token: int | None
    kl_coef: float
    reward_range: tuple[float, float]
    prompts: Prompts = field(default_factory=Prompts.none)
    reward_fingerprint: str
    source: tuple[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        check_horizon(self.horizon)
        check_kl_coef(self.kl_coef)
        longest = self.reference.longest
        if longest is not None and self.max_length > longest:
            raise ValueError(
                f"horizon must be at most {longest - self.prompt_length}, got {self.horizon}: the reference "
                f"{self.reference.name!r} reads {longest} tokens, of which prompts take {self.prompt_length}"
            )

    @property
    def vocab_size(self) -> int:
        """Number of tokens V, the size of the action space."""
        return self.reference.vocab_size

    @property
    def prompt_length(self) -> int:
        """Length of the longest prompt, P."""
        return self.prompts.tokens.shape[1]

    @property
    def max_length(self) -> int:
        """Length of an observation, L = P + T."""
        return self.prompt_length + self.horizon

    @property
    def pad(self) -> int:
        """What fills an observation beyond the text: the end token, or V where there is none."""
        return self.vocab_size if self.end_token is None else self.end_token

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that moves J* but kl_coef: reference, reward, horizon, end token, prompts."""
        parts = {
            "id": self.id,
            "reference": self.reference.fingerprint,
            "reward": self.reward_fingerprint,
            "horizon": self.horizon,
            "end_token": self.end_token,
            "prompts": digest(self.prompts.tokens, self.prompts.lengths),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def text(self, tokens: IntArray) -> str:
        """The text of one sequence, prompt included, without padding."""
        return self.vocabulary.decode(tokens[tokens != self.pad].tolist())

    def lengths(self, observations: IntArray) -> IntArray:
        """Tokens in each padded row of observations [B, L]: up to the first pad after the prompt."""
        is_pad = observations == self.pad
        return np.where(is_pad.any(axis=1), is_pad.argmax(axis=1), observations.shape[1])

    def __reduce__(self) -> Any:
        if self.source is None:
            return super().__reduce__()
        from klrl_envs.registry import make_task

        return _remake, (make_task, *self.source)


def _remake(make: Callable[..., Task], task_id: str, arguments: Mapping[str, Any]) -> Task:
    return make(task_id, **arguments)


@dataclass(frozen=True, eq=False)
class StateView:
    """An observation of the automaton's state in place of the tokens: table int64 [Q, D], 0..high [D]."""

    table: IntArray
    high: IntArray


@dataclass(frozen=True, eq=False, kw_only=True)
class AutomatonTask(Task):
    """A Markov reference times a reward automaton: the optimum is exact.

    Attributes:
        reference: a ``MarkovModel``, such as a bigram.
        automaton: the reward.
        state_features: float32 [Q, F] in [0, 1], the automaton state for the features id.
        view: what is observed instead of the tokens, or None.
        final_metrics: float64 [Q] arrays that are reported at the end, by name.
        prompt_states: int64 [M], the automaton's state after each prompt, or None to draw the state from the
            automaton's start. The reference has read the prompt either way.
        reward_noise: standard deviation of normal noise on the reward at the end of an episode. J* is that
            of the mean.
        initial_policy: log pi [C, V] at which agents must start, by context of the reference; pi0 where None.
        describe: the picture of a state in letters, or None to show the text.
        draw: pixels of one lane from its state (see ``rendering``), or None to draw the text.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    state_features: NDArray[np.float32]
    view: StateView | None = None
    final_metrics: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    prompt_states: IntArray | None = None
    reward_noise: float = 0.0
    initial_policy: NDArray[np.float64] | None = None
    describe: Callable[[int], str] | None = None
    draw: Callable[[int], NDArray[np.uint8]] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class TextTask(Task):
    """A causal language model and a function from texts to rewards, paid once, at the end.

    Attributes:
        score_texts: (tokens [K, L], lengths [K], texts) -> rewards float64 [K] and metrics.
    """

    score_texts: ScoreTexts

    def score(self, tokens: IntArray, lengths: IntArray) -> tuple[NDArray[np.float64], Metrics]:
        """Rewards float64 [K] and metrics (the texts among them) of finished tokens [K, L]."""
        rows = zip(tokens, lengths, strict=True)
        texts = [self.vocabulary.decode(row[:length].tolist()) for row, length in rows]
        rewards, metrics = self.score_texts(tokens, lengths, texts)
        return rewards, {"text": np.array(texts, dtype=object), **metrics}


def digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 of arrays: their types, shapes and bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def is_whole(value: object) -> TypeGuard[int]:
    """Whether an argument is a whole number, of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_horizon(horizon: object) -> int:
    """Return a horizon, in tokens; raise ValueError where it is no whole number of at least 1."""
    if not is_whole(horizon) or horizon < 1:
        raise ValueError(f"horizon must be a whole number of at least 1 token, got {horizon!r}")
    return int(horizon)


def check_split(prompts: str) -> None:
    """Raise ValueError unless ``prompts`` names a split."""
    if prompts not in ("train", "evaluation"):
        raise ValueError(f"prompts must be 'train' or 'evaluation', got {prompts!r}")
