"""Reward automata: the rewards for which the optimum of a text environment is known exactly.

A `RewardAutomaton` reads the tokens of a text one at a time, moves between finitely many states and
pays rewards on the way and at the end. Beside an n-gram reference its states make a finite Markov
decision process, which `klrl_envs.optima.dynamic_programme.solve` solves to the last digit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reward.parts import (
    as_absorbing,
    as_context_reward,
    as_execution,
    as_rewards,
    as_start,
    as_transition,
    check_replies,
)
from klrl_envs.reward.replies import Replies


@dataclass(frozen=True, eq=False, init=False)
class RewardAutomaton:
    """A finite automaton over tokens that pays for what it reads.

    An episode draws a state q from `start`. At each step the agent chooses a token a; the token b that
    is executed is a itself, or is drawn from `execution[a]`; the step pays `reward[q, b]`, and q becomes
    `transition[q, b]`. The episode ends when the chosen token is the task's end token, when q is
    absorbing, or at the task's horizon. An end by end token or absorption pays `final_reward[q]` on top;
    the horizon, where it is neither, pays `horizon_reward[q]`. The end token is read like any other.
    The context of an n-gram reference follows the chosen token, not the executed one.

    Where there are `replies`, a step (or the start) that leads to a speaking state is followed by what the
    environment writes, and by the state after that; what ends the episode, and what the end pays, is the
    latter's.

    Attributes (Q states, V tokens; arrays are read-only):
        transition: int64[Q, V], the next state.
        reward: float64[Q, V], paid for the executed token.
        final_reward: float64[Q], paid at the end in the state reached.
        start: float64[Q], the distribution of the first state.
        absorbing: bool[Q], the states that end the episode.
        horizon_reward: float64[Q], paid in place of `final_reward` where the horizon ends the episode.
        execution: float64[V, V] or None, row a the distribution of what is executed when a is chosen.
        context_reward: float64[C, V] or None, paid on top for a token in a context of the reference.
        replies: what the environment writes itself, or None.

    Two automata are equal where their `fingerprint`s are.
    """

    transition: IntArray
    reward: FloatArray
    final_reward: FloatArray
    start: FloatArray
    absorbing: BoolArray
    horizon_reward: FloatArray
    execution: FloatArray | None
    context_reward: FloatArray | None
    replies: Replies | None

    def __init__(
        self,
        transition: ArrayLike,
        reward: ArrayLike | None = None,
        final_reward: ArrayLike | None = None,
        start: ArrayLike = 0,
        *,
        absorbing: ArrayLike | None = None,
        execution: ArrayLike | None = None,
        horizon_reward: ArrayLike | None = None,
        context_reward: ArrayLike | None = None,
        replies: Replies | None = None,
    ) -> None:
        """Check and keep the parts.

        Args:
            transition: int[Q, V], entries in 0..Q-1.
            reward: float[Q, V], finite; zero where None.
            final_reward: float[Q], finite; zero where None.
            start: a state, or float[Q] probabilities, with nothing on an absorbing state.
            absorbing: bool[Q]; none where None.
            execution: float[V, V] whose rows are distributions; the chosen token itself where None.
            horizon_reward: float[Q], finite; `final_reward` where None.
            context_reward: float[C, V], finite, C the contexts of the reference (a bigram's are the last
                token, and V at the start); none where None. It does not go with `execution`.
            replies: of speaking states, none of which is absorbing. They do not go with `execution`.

        Raises:
            ValueError: an argument of another shape, range or kind; the message names it.
        """
        table = as_transition(transition)
        states, tokens = table.shape
        final = as_rewards("final_reward", final_reward, (states,))
        stops = as_absorbing(absorbing, states)
        parts: dict[str, NDArray[Any] | None] = {
            "transition": table,
            "reward": as_rewards("reward", reward, (states, tokens)),
            "final_reward": final,
            "start": as_start(start, stops),
            "absorbing": stops,
            "horizon_reward": (
                final if horizon_reward is None else as_rewards("horizon_reward", horizon_reward, (states,))
            ),
            "execution": None if execution is None else as_execution(execution, tokens),
            "context_reward": None if context_reward is None else as_context_reward(context_reward, tokens),
        }
        if execution is not None and context_reward is not None:
            raise ValueError("context_reward needs that the chosen token is executed: leave out execution")
        if replies is not None:
            check_replies(replies, parts, tokens)
        object.__setattr__(self, "replies", replies)
        for name, array in parts.items():
            if array is not None:
                array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def states(self) -> int:
        """Q, the number of states."""
        return self.transition.shape[0]

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""
        return self.transition.shape[1]

    @property
    def deterministic(self) -> bool:
        """Whether the state is a function of the first state and the chosen tokens.

        Only then is the optimum the reference tilted by the reward (theory: pi0 exp(r/beta) / Z).
        """
        return self.execution is None and (self.replies is None or self.replies.certain)

    @property
    def terminal(self) -> bool:
        """Whether every reward is paid at the end of the episode."""
        return not self.reward.any() and (self.context_reward is None or not self.context_reward.any())

    def range_within(self, horizon: int) -> tuple[float, float]:
        """Bounds of the total reward of ``horizon`` tokens, from those of a step and of the end."""
        last = np.concatenate([self.final_reward, self.horizon_reward])
        low, high = float(self.reward.min()), float(self.reward.max())
        if self.context_reward is not None:
            low += float(self.context_reward.min())
            high += float(self.context_reward.max())
        return min(low, horizon * low) + float(last.min()), max(high, horizon * high) + float(last.max())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that determines the automaton's behaviour."""
        digest = hashlib.sha256(b"klrl reward automaton 1")
        for name in (
            "transition", "reward", "final_reward", "start", "absorbing", "horizon_reward", "execution",
            "context_reward",
        ):  # fmt: skip
            array = getattr(self, name)
            if array is not None:
                ordered = np.ascontiguousarray(array)
                little = ordered.astype(ordered.dtype.newbyteorder("<"), copy=False)
                digest.update(f"{name} {ordered.dtype.name} {ordered.shape}".encode())
                digest.update(little.tobytes())
        if self.replies is not None:
            digest.update(self.replies.digest())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        """Equal behaviour: equal fingerprints."""
        return isinstance(other, RewardAutomaton) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        """Of the fingerprint, so that an automaton can be a key."""
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        """Sizes alone: the tables can be large."""
        kind = "" if self.deterministic else ", stochastic"
        kind += "" if self.replies is None else ", replies"
        return f"RewardAutomaton({self.states} states, {self.vocab_size} tokens{kind})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached fingerprint."""
        return {name: value for name, value in self.__dict__.items() if name != "fingerprint"}

    def __setstate__(self, parts: dict[str, Any]) -> None:
        """Arrays lose their read-only flag in a pickle; set it again."""
        for name, value in parts.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)

    def read(
        self,
        state: IntArray,
        chosen: IntArray,
        *,
        context: IntArray | None = None,
        executed: IntArray | None = None,
        end_token: int | None = None,
    ) -> tuple[FloatArray, IntArray, BoolArray]:
        """One step of N texts: the one way in which a text is followed.

        Args:
            state: int64[N], where the texts are.
            chosen: int64[N], the next token of each.
            context: int64[N], of the reference; needed where there is a `context_reward`.
            executed: int64[N], what took the place of what was chosen; the same where None.
            end_token: the token whose choice ends a text, or None.

        Returns:
            What the step pays float64[N], the next states int64[N], and which texts end here bool[N], before
            the horizon's own end. What the end itself pays is `settle`'s.
        """
        taken = chosen if executed is None else executed
        paid, after = self.reward[state, taken], self.transition[state, taken]
        if self.context_reward is not None:
            paid = paid + self.context_reward[context, taken]
        ends = self.absorbing[after]
        return paid, after, ends if end_token is None else ends | (chosen == end_token)

    def settle(self, state: IntArray, ended: BoolArray) -> FloatArray:
        """What the end pays float64[N] in states int64[N]; ended bool[N]: before the horizon's end."""
        return np.where(ended, self.final_reward[state], self.horizon_reward[state])

    def starts(
        self, reference: MarkovModel, prompts: tuple[IntArray, IntArray] | None = None
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Where an agent's first token starts, after what the environment writes first: contexts int64[N] of
        the reference, states int64[N], their probabilities.

        Args:
            reference: pi0.
            prompts: (contexts int64[M], states int64[M]) after each prompt, all alike; `start` where None.
        """
        if prompts is not None:
            context, state = prompts
            weight = np.full(context.size, 1 / context.size)
        else:
            state = np.flatnonzero(self.start)
            context, weight = np.full_like(state, reference.start_context), self.start[state]
        if self.replies is None:
            return context, state, weight
        return self.replies.followed(reference, context, state, weight)[1:]

    def trimmed(self) -> RewardAutomaton:
        """This automaton without the states that no text reaches; the others keep their order."""
        kept = np.flatnonzero(self.reachable())
        if kept.size == self.states:
            return self
        place = np.zeros(self.states, dtype=np.int64)
        place[kept] = np.arange(kept.size)
        return RewardAutomaton(
            np.where(self.absorbing[kept, None], np.arange(kept.size)[:, None], place[self.transition[kept]]),
            self.reward[kept],
            self.final_reward[kept],
            self.start[kept],
            absorbing=self.absorbing[kept],
            horizon_reward=self.horizon_reward[kept],
            execution=self.execution,
            context_reward=self.context_reward,
            replies=None if self.replies is None else self.replies.renumbered(kept, place),
        )

    def reachable(self, steps: int | None = None) -> BoolArray:
        """The states that some text reaches.

        Args:
            steps: within so many tokens; without limit where None.

        Returns:
            bool[Q].
        """
        seen = self.heard(self.start > 0)
        frontier = seen
        limit = self.states if steps is None else steps
        for _ in range(limit):
            sources = frontier & ~self.absorbing
            if self.replies is not None:
                sources &= ~self.replies.speaks
            following = np.zeros(self.states, dtype=bool)
            following[self.transition[sources]] = True
            frontier = self.heard(following) & ~seen
            if not frontier.any():
                break
            seen = seen | frontier
        return seen

    def heard(self, states: BoolArray) -> BoolArray:
        """Some states bool[Q], and those that what is written in them leads to."""
        if self.replies is None:
            return states
        following = states.copy()
        following[self.replies.after[states[self.replies.state]]] = True
        return following
