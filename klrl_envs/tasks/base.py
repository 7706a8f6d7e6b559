"""What a task is: a reference, a horizon, prompts and a reward."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from klrl_envs.kl import check_kl_coef
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.device import device_of
from klrl_envs.reference.protocol import Reference
from klrl_envs.reference.vocabulary import PromptVocabulary, Vocabulary

if TYPE_CHECKING:
    from klrl_envs.reward.replies import Replies
    from klrl_envs.tasks.automaton_task import AutomatonTask

Metrics = dict[str, NDArray[Any]]
ScoreTexts = Callable[[IntArray, IntArray, Sequence[str]], tuple[FloatArray, Metrics]]

SPLITS = ("train", "evaluation")


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

    @classmethod
    def padded(cls, rows: Sequence[Sequence[int]], pad: int) -> Prompts:
        """Rows of token ids of any lengths, at least one of them, with ``pad`` on the right."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), int(lengths.max())), pad, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = ids
        return cls(tokens, lengths)


@dataclass(frozen=True)
class Source:
    """Where a task comes from, so that it can be made again: in another process, or with other arguments.

    Attributes:
        make: a function that pickles, from arguments to the task.
        arguments: all that the task was made with.
        module: what registers the environment when it is imported; None for the suite's.
        device: of the reference's network, which is no argument of the task.
    """

    make: Callable[..., Task]
    arguments: Mapping[str, Any]
    module: str | None = None
    device: str = "cpu"

    def task(self, **changes: Any) -> Task:
        """The task once more, with some arguments changed."""
        placed = {} if self.device == "cpu" else {"device": self.device}
        return self.make(**{**self.arguments, **placed, **changes})


def _remake(source: Source) -> Task:
    return source.task()


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """The data of an environment; ``AutomatonTask`` and ``TextTask`` add the reward.

    Attributes:
        reference: pi0.
        vocabulary: how tokens are shown.
        end_token: the token that ends an episode, or None.
        horizon: the most tokens that the agent writes, T.
        kl_coef: the price of KL, in units of reward per nat.
        reward_range: bounds (a, b) of the episode's total reward, by definition of the task.
        reward_fingerprint: SHA-256 of what determines the reward.
        prompts: the prompts of the chosen split.
        reward_noise: standard deviation of normal noise on the reward at the end of an episode. J* is that
            of the mean.
        id: the environment's, such as ``"Keywords-v0"``; the registry gives it, and the source.
        source: what makes this task again, or None.
    """

    reference: Reference
    vocabulary: Vocabulary
    end_token: int | None
    horizon: int
    kl_coef: float
    reward_range: tuple[float, float]
    reward_fingerprint: str
    prompts: Prompts = field(default_factory=Prompts.none)
    reward_noise: float = 0.0
    id: str = "exact_task"
    source: Source | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", check_horizon(self.horizon))
        check_kl_coef(self.kl_coef)
        longest = self.reference.longest
        if longest is not None and self.max_length > longest:
            raise ValueError(
                f"horizon must be at most {longest - self.prompt_length}, got {self.horizon}: the reference "
                f"{self.reference.name!r} reads {longest} tokens, of which prompts take {self.prompt_length}"
            )

    @property
    def exact(self) -> AutomatonTask | None:
        """This task where its optimum is solved exactly, else None."""
        return None

    @property
    def mean_reward_range(self) -> tuple[float, float]:
        """Bounds of the episode's reward without its noise."""
        return self.reward_range

    @property
    def random_beside_tokens(self) -> bool:
        """Whether an episode is more than a function of prompt and tokens, so that pi* is no tilted pi0."""
        return False

    @property
    def replies(self) -> Replies | None:
        """What the task writes itself after the agent's tokens, or None."""
        return None

    @property
    def reply_room(self) -> int:
        """The most tokens of an episode that are the task's own."""
        return 0

    @property
    def commonest_answer(self) -> str | None:
        """The right answer that most prompts share, where texts are compared with answers."""
        return None

    @property
    def device(self) -> str:
        """Of the reference's network, as torch calls it; "cpu" where the reference is a table."""
        return device_of(self.reference)

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
        """Length of an observation, L = P + T, and what the task may write itself on top."""
        return self.prompt_length + self.horizon + self.reply_room

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

    @cached_property
    def split(self) -> str:
        """Whose prompts it has, "train" or "evaluation"; "none" where it was not made with either."""
        return "none" if self.source is None else self.source.arguments.get("prompts", "none")

    @property
    def padded_prompts(self) -> IntArray:
        """The prompts int64[M, P], padded on the right with the task's pad."""
        inside = np.arange(self.prompt_length) < self.prompts.lengths[:, None]
        return np.where(inside, self.prompts.tokens, self.pad)

    def text(self, tokens: IntArray) -> str:
        """The text of one sequence, prompt included, without padding."""
        return self.vocabulary.decode(tokens[tokens != self.pad].tolist())

    def vocabulary_after(self, prompt: str) -> Vocabulary:
        """What tokens mean that are written behind a prompt: of some models they may be its words."""
        own = self.vocabulary
        return own.after(prompt) if isinstance(own, PromptVocabulary) else own

    def parts(self, prompt: IntArray, written: IntArray) -> tuple[str, str]:
        """The texts of a prompt and of what was written behind it, both without padding."""
        before = self.text(prompt)
        return before, self.vocabulary_after(before).decode(written[written != self.pad].tolist())

    def lengths(self, observations: IntArray) -> IntArray:
        """Tokens in each padded row of observations [B, L]: up to the pads at its end.

        A prompt may have end tokens within, as the turns of a chat do.
        """
        if not observations.shape[1]:
            return np.zeros(len(observations), dtype=np.int64)
        counts: BoolArray = observations[:, ::-1] != self.pad
        return np.where(counts.any(axis=1), observations.shape[1] - counts.argmax(axis=1), 0)

    def episode_tokens(
        self, completion: str, tokens: Sequence[int] | None = None, prompt: str = ""
    ) -> list[int]:
        """The tokens of an episode that writes a completion: up to the horizon, with the end token, where
        there is one, after a shorter one.

        Args:
            completion: what was written.
            tokens: of it, where its writer has them; see ``own_tokens``.
            prompt: behind which it was written.

        Raises:
            ValueError: the vocabulary cannot write it.
        """
        own = None if tokens is None else self.own_tokens(completion, tokens, prompt)
        written = own or self.vocabulary_after(prompt).encode(completion)[: self.horizon]
        if self.end_token is None or len(written) == self.horizon or self.end_token in written:
            return written
        return [*written, self.end_token]

    def token_counts(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> IntArray:
        """Tokens int64 [K] that completions count as; a whole episode where no episode can write one.

        Args:
            prompts, completions, tokens: as those of ``text_rewards``.
        """
        counts = np.full(len(completions), self.horizon, dtype=np.int64)
        given = [None] * len(completions) if tokens is None else tokens
        parts = zip(prompts, completions, given, strict=True)
        for place, (prompt, completion, ids) in enumerate(parts):
            with suppress(ValueError):
                counts[place] = len(self.episode_tokens(completion, ids, prompt))
        return counts

    def score(
        self, tokens: IntArray, lengths: IntArray, *, counted: bool = False
    ) -> tuple[FloatArray, Metrics]:
        """Rewards float64 [K] and metrics of finished tokens [K, L], of which lengths [K] count.

        Only a task that is not exact has it: there the reward is a function of the text. ``counted`` says
        that the ledger has these tokens already, as those of an engine's steps.
        """
        raise NotImplementedError

    def summaries(
        self, prompts: IntArray, rewards: FloatArray, metrics: Mapping[str, FloatArray]
    ) -> dict[str, float]:
        """What only many episodes together show, by name: of episodes with these prompts int64 [E], by their
        numbers, rewards [E] and metrics, [E] each.
        """
        return {}

    def text_rewards(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> FloatArray:
        """Mean rewards float64 [K] of texts as strings: of a completion what the horizon has room for, in the
        task's own tokens, which are counted.

        Args:
            prompts: K of them.
            completions: what was written after each.
            tokens: of the completions, where their writer has them; see ``own_tokens``.

        Raises:
            ValueError: the task is exact and has prompts, and a prompt is none of them.
        """
        raise NotImplementedError

    def own_tokens(self, completion: str, tokens: Sequence[int], prompt: str = "") -> list[int] | None:
        """Tokens of a completion up to the end token or the horizon, where they are of this vocabulary.

        That is known where they decode to the completion; None where they do not, as another tokenizer's.
        """
        written = [int(token) for token in tokens]
        if self.end_token in written:
            written = written[: written.index(self.end_token) + 1]
        if not all(0 <= token < self.vocab_size for token in written):
            return None
        decode = self.vocabulary_after(prompt).decode
        return written[: self.horizon] if decode(written) == completion else None

    def without_noise(self) -> Self:
        """The task without the noise on its reward, which has mean zero: no expectation moves."""
        return replace(self, reward_noise=0.0) if self.reward_noise else self

    def __reduce__(self) -> Any:
        return super().__reduce__() if self.source is None else (_remake, (self.source,))


def require_exact(task: Task, what: str) -> AutomatonTask:
    """A task whose optimum is exact; TypeError, which names ``what`` needs that, for another."""
    if task.exact is None:
        raise TypeError(f"{what} needs an exact environment, and {task.id} is none")
    return task.exact


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
    if prompts not in SPLITS:
        raise ValueError(f"prompts must be 'train' or 'evaluation', got {prompts!r}")
