"""Exact tasks: a Markov reference times a reward automaton."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs import ledger
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reward.automata import binary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.replies import Replies
from klrl_envs.tasks.base import Task, check_horizon
from klrl_envs.tasks.conversation import ReadConversation, read_conversation

ONE_HOT_STATES = 64
"""Automata of more states show the index of their state in binary digits instead of one-hot."""


Starts = tuple[IntArray, IntArray, FloatArray]
"""Contexts of the reference, states of the automaton, and their probabilities, [N] each."""

Choice = Callable[[IntArray, IntArray, int], IntArray]
"""(context int64[N], state int64[N], tokens written) -> token int64[N]."""


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
        initial_policy: log pi [C, V] at which agents must start, by context of the reference; pi0 where None.
        describe: the picture of a state in letters, or None to show the text.
        draw: pixels of one lane from its state (see ``rendering``), or None to draw the text.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    state_features: NDArray[np.float32]
    view: StateView | None = None
    final_metrics: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    prompt_states: IntArray | None = None
    initial_policy: FloatArray | None = None
    describe: Callable[[int], str] | None = None
    draw: Callable[[int], NDArray[np.uint8]] | None = None

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        automaton: RewardAutomaton,
        *,
        kl_coef: float,
        horizon: int,
        reward_range: tuple[float, float] | None = None,
        reward_fingerprint: str | None = None,
        state_features: NDArray[np.float32] | None = None,
        **parts: Any,
    ) -> AutomatonTask:
        """The task of a reference and an automaton over its tokens.

        Args:
            model: an n-gram with its vocabulary and end token.
            automaton: the reward.
            kl_coef: in units of reward per nat.
            horizon: the most tokens, T.
            reward_range: see ``Task``; the bounds that follow from the automaton where None.
            reward_fingerprint: of what the automaton was computed from, where its numbers depend on the
                processor's last bits; the automaton's own where None.
            state_features: float32 [Q, F]; the state's number where None, one-hot or in binary digits.
            **parts: other fields of ``AutomatonTask``.

        Raises:
            ValueError: kl_coef or horizon out of range.
            TypeError: the reference is no n-gram.
        """
        return cls(
            reference=model.markov,
            vocabulary=model.vocabulary,
            end_token=model.end_token,
            horizon=horizon,
            kl_coef=kl_coef,
            reward_range=reward_range or automaton.range_within(check_horizon(horizon)),
            reward_fingerprint=automaton.fingerprint if reward_fingerprint is None else reward_fingerprint,
            automaton=automaton,
            state_features=number_features(automaton.states) if state_features is None else state_features,
            **parts,
        )

    @property
    def exact(self) -> AutomatonTask:
        """This task."""
        return self

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replies is not None and bool((self.replies.texts == self.end_token).any()):
            raise ValueError(f"replies must not hold the end token {self.end_token}: it is no word of a text")

    @property
    def replies(self) -> Replies | None:
        """See ``Task``: those of the automaton."""
        return self.automaton.replies

    @property
    def reply_room(self) -> int:
        """See ``Task``: by the longest way through the automaton."""
        return self._reply_room

    @cached_property
    def _reply_room(self) -> int:
        return most_written(self.automaton, self.horizon)

    @property
    def mean_reward_range(self) -> tuple[float, float]:
        """See ``Task``: the declared bounds, or the automaton's where these are narrower."""
        lowest, highest = self.automaton.range_within(self.horizon)
        return max(self.reward_range[0], lowest), min(self.reward_range[1], highest)

    @property
    def random_beside_tokens(self) -> bool:
        """Whether the start is drawn, or what the task writes, or what is executed is not what was chosen."""
        return not self.automaton.deterministic or bool(np.count_nonzero(self.automaton.start) > 1)

    @cached_property
    def prompt_starts(self) -> tuple[IntArray, IntArray] | None:
        """Contexts and states, int64 [M] each, after the prompts; None where the automaton draws its own."""
        if self.prompt_states is None:
            return None
        context = self.reference.context_after(self.prompts.tokens, self.prompts.lengths)
        return context, self.prompt_states

    @cached_property
    def starts(self) -> Starts:
        """Where an agent's first token starts: at the prompts, in order, or as the automaton draws it, and
        after what the task writes first.
        """
        return self.automaton.starts(self.reference, self.prompt_starts)

    def deterministic_objective(
        self,
        choose: Choice,
        *,
        starts: Starts | None = None,
        steps: int | None = None,
        kl_coef: float | None = None,
    ) -> float:
        """J of a deterministic policy, exactly, by following every start and all that the task may write.

        Args:
            choose: what it writes.
            starts: where its texts begin; those of the task where None.
            steps: the most tokens that it writes; the horizon where None.
            kl_coef: in units of reward per nat; the task's own where None. At 0 this is the expected reward.
        """
        context, state, weight = self.starts if starts is None else starts
        price = self.kl_coef if kl_coef is None else kl_coef
        total = 0.0
        for time in range(self.horizon if steps is None else steps):
            token = choose(context, state, time)
            paid, after, ends = self.automaton.read(state, token, context=context, end_token=self.end_token)
            if price:
                paid = paid + price * self.reference.log_prob(context, token)
            total += float(weight @ paid)
            context = self.reference.next_context(context, token)
            if self.replies is not None:
                told = self.replies.followed(self.reference, context, after, weight)
                lane, context, after, weight = told
                ends = ends[lane] | self.automaton.absorbing[after]
            total += float(weight[ends] @ self.automaton.settle(after[ends], ends[ends]))
            going = ~ends
            context, state, weight = context[going], after[going], weight[going]
        return total + float(weight @ self.automaton.settle(state, np.zeros(state.size, dtype=np.bool_)))

    def text_rewards(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> FloatArray:
        """See ``Task``. A completion that the vocabulary cannot write is paid the least reward; a shorter one
        ends with the end token where there is one; where the start is random the mean is paid. Of a task that
        writes replies a completion is the whole conversation: see ``read_conversation``.
        """
        if self.replies is not None:
            read = [self.conversation(completion) for completion in completions]
            ledger.count(
                self.id, self.split, int(self.token_counts(prompts, completions).sum()), len(completions)
            )
            least = self.automaton.range_within(self.horizon)[0]
            return np.array([least if each is None else each.reward for each in read])
        rewards: list[float] = []
        given = [None] * len(completions) if tokens is None else tokens
        for prompt, completion, ids in zip(prompts, completions, given, strict=True):
            starts = self.starts
            if self.prompt_length:
                place = [self._place_of(prompt)]
                starts = starts[0][place], starts[1][place], np.ones(1)
            rewards.append(self._text_reward(starts, completion, ids))
        counted = int(self.token_counts(prompts, completions, tokens).sum())
        ledger.count(self.id, self.split, counted, len(completions))
        return np.array(rewards)

    def conversation(self, completion: str) -> ReadConversation | None:
        """A text of both sides, read; None where the task's two sides cannot have written it.

        Raises:
            ValueError: the task has prompts, which tell where a conversation starts.
        """
        if self.prompt_states is not None:
            raise ValueError(f"{self.id} has prompts: a conversation's text does not tell its prompt")
        try:
            return read_conversation(self, self.vocabulary.encode(completion))
        except ValueError:
            return None

    def token_counts(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> IntArray:
        """See ``Task``; of a conversation the agent's tokens alone."""
        if self.replies is None:
            return super().token_counts(prompts, completions, tokens)
        read = [self.conversation(completion) for completion in completions]
        return np.array([self.horizon if each is None else sum(each.own) for each in read], dtype=np.int64)

    def _place_of(self, prompt: str) -> int:
        if prompt not in self._places:
            raise ValueError(f"{prompt!r} is none of the {len(self._places)} prompts of {self.id}")
        return self._places[prompt]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each prompt stands, by its text."""
        return {self.text(row): place for place, row in enumerate(self.padded_prompts)}

    def _text_reward(self, starts: Starts, completion: str, ids: Sequence[int] | None) -> float:
        try:
            tokens = self.episode_tokens(completion, ids)
        except ValueError:
            return self.automaton.range_within(self.horizon)[0]

        def written(context: IntArray, state: IntArray, time: int) -> IntArray:
            return np.full_like(state, tokens[time])

        return self.deterministic_objective(written, starts=starts, steps=len(tokens), kl_coef=0.0)


def most_written(automaton: RewardAutomaton, horizon: int) -> int:
    """The most tokens that an automaton's replies write around ``horizon`` tokens of an agent."""
    replies = automaton.replies
    if replies is None:
        return 0
    silent = np.flatnonzero(~automaton.absorbing & ~replies.speaks)
    lengths = replies.lengths[replies.text]
    room = told = np.zeros(automaton.states, dtype=np.int64)
    for _ in range(horizon + 1):
        # from the present state on: what a speaking one writes, then the most after any token
        told = room.copy()
        told[replies.state] = 0
        np.maximum.at(told, replies.state, lengths + room[replies.after])
        following = told.copy()
        following[silent] = told[automaton.transition[silent]].max(axis=1)
        if np.array_equal(following, room):
            break
        room = following
    return int(told[automaton.start > 0].max())


def number_features(states: int) -> NDArray[np.float32]:
    """An injective encoding float32[Q, F] of the numbers 0 to Q - 1 in [0, 1]."""
    if states <= ONE_HOT_STATES:
        return np.eye(states, dtype=np.float32)
    return binary(states, (states - 1).bit_length()).astype(np.float32)
