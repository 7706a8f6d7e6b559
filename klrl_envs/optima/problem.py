"""What is solved: a Markov reference, a reward automaton, and how an episode ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.replies import Replies


class Told(NamedTuple):
    """Where replies lead: for each of K outcomes the state after it, and the mass that ends, or goes on."""

    after: IntArray
    over: FloatArray
    going_on: FloatArray


@dataclass(frozen=True, eq=False)
class Problem:
    """A Markov reference, a reward automaton and how an episode ends: all but kl_coef.

    Attributes:
        reference: pi0, C contexts, V tokens and K arcs.
        automaton: Q states and the same V tokens.
        horizon: T, the most tokens that an episode writes.
        end_token: the token whose choice ends the episode, or None.
        prompts: (contexts int64[M], states int64[M]), where the reference and the automaton are after each
            prompt; None for the reference's start and the automaton's. The optimum is the prompts' mean.

    Raises:
        ValueError: horizon below 1, end_token or a prompt out of range, vocabularies of different sizes, or
            a context reward that does not fit the reference.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    horizon: int
    end_token: int | None
    prompts: tuple[IntArray, IntArray] | None = None

    def __post_init__(self) -> None:
        automaton, reference = self.automaton, self.reference
        if reference.vocab_size != automaton.vocab_size:
            raise ValueError(
                f"the automaton reads {automaton.vocab_size} tokens, "
                f"the reference writes {reference.vocab_size}; they must agree"
            )
        if self.horizon < 1:
            raise ValueError(f"horizon must be at least 1 token, got {self.horizon}")
        if self.end_token is not None and not 0 <= self.end_token < automaton.vocab_size:
            raise ValueError(
                f"end_token must be None or 0 to {automaton.vocab_size - 1}, got {self.end_token}"
            )
        extra = automaton.context_reward
        if extra is not None and extra.shape[0] != reference.contexts:
            raise ValueError(
                f"context_reward has {extra.shape[0]} contexts, the reference {reference.contexts}"
            )
        plain = reference.arc_tokens.size == reference.vocab_size
        if not plain and not (extra is None and automaton.execution is None and automaton.replies is None):
            raise ValueError("context_reward, execution and replies need a bigram or the uniform reference")
        if self.prompts is None:
            return
        limits = {"context": reference.contexts, "state": automaton.states}
        for (name, limit), values in zip(limits.items(), self.prompts):
            if not (values.size and values.min() >= 0 and values.max() < limit):
                raise ValueError(f"prompts must lead to a {name} in 0..{limit - 1}, got {values}")
        if automaton.absorbing[self.prompts[1]].any():
            raise ValueError("a prompt must not lead to an absorbing state: nothing can follow")
        if automaton.replies is not None and automaton.replies.speaks[self.prompts[1]].any():
            raise ValueError("a prompt must not lead to a speaking state: what is written first is no prompt")

    @cached_property
    def starts(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Contexts, states and probabilities, [N] each, at which the agent's first token starts."""
        return self.automaton.starts(self.reference, self.prompts)

    @property
    def replies(self) -> Replies | None:
        """What the environment writes itself, or None."""
        return self.automaton.replies

    @cached_property
    def told_contexts(self) -> IntArray:
        """int64[K], the reference's context after each outcome of the replies."""
        assert self.replies is not None
        return self.replies.contexts(self.reference)

    @cached_property
    def _speaks(self) -> BoolArray:
        """bool[V, Q], whether token a in q is followed by a reply."""
        assert self.replies is not None
        return self.replies.speaks[self._after]

    @cached_property
    def reached(self) -> list[IntArray]:
        """For each time 0 to T - 1 the states, ascending, in which an episode can still go on."""
        automaton = self.automaton
        seen = np.zeros(automaton.states, dtype=bool)
        seen[self.starts[1]] = True
        speaks = np.zeros_like(seen) if self.replies is None else self.replies.speaks
        transition = automaton.transition
        if self.end_token is not None and automaton.execution is None:
            transition = np.delete(transition, self.end_token, axis=1)
        result = [np.flatnonzero(seen)]
        for _ in range(self.horizon - 1):
            following = np.zeros(automaton.states, dtype=bool)
            following[transition[result[-1]].ravel()] = True
            result.append(np.flatnonzero(automaton.heard(following) & ~automaton.absorbing & ~speaks))
        return result

    @cached_property
    def places(self) -> list[IntArray]:
        """For each time int64[Q], where a state stands in `reached`; -1 where it does not."""
        result: list[IntArray] = []
        for states in self.reached:
            place = np.full(self.automaton.states, -1, dtype=np.int64)
            place[states] = np.arange(states.size)
            result.append(place)
        return result

    @cached_property
    def _after(self) -> IntArray:
        return np.ascontiguousarray(np.transpose(self.automaton.transition))

    @cached_property
    def _ends(self) -> BoolArray:
        """bool[V, Q], whether token a chosen and executed in q ends the episode by itself."""
        ends = self.automaton.absorbing[self._after]
        if self.end_token is not None:
            ends[self.end_token] = True
        # where the environment writes on, its reply ends the episode or does not
        return ends if self.replies is None else ends & ~self._speaks

    @cached_property
    def _paid(self) -> FloatArray:
        """float64[V, Q], what the step itself pays, the final reward of an end included."""
        final = np.where(self._ends, self.automaton.final_reward[self._after], 0.0)
        return np.transpose(self.automaton.reward) + final

    def columns(self, table: NDArray[Any], time: int) -> NDArray[Any]:
        """Of a table [V, Q] the columns that are `reached` at a time, a row for each arc, [K, Q_t]."""
        states, tokens = self.reached[time], self.reference.arc_tokens
        if states.size and states[-1] - states[0] == states.size - 1:
            table = table[:, states[0] : states[-1] + 1]  # a view: neighbours are common
        else:
            table = table[:, states]
        return table if tokens.size == table.shape[0] else table[tokens]

    def arrivals(self, time: int) -> tuple[IntArray, BoolArray]:
        """Where each arc leads from the states `reached` at a time, and whether it ends there, [K, Q_t]."""
        return self.columns(self._after, time), self.columns(self._ends, time)

    def to_go(self, values: FloatArray | None, time: int) -> FloatArray:
        """Expected reward of a choice, this step and all that follows, but for the context reward.

        Args:
            values: float64[C, Q_(t+1)], the value after the step where the episode goes on, of the states
                `reached` then; None on the last step, where the horizon's reward takes its place.
            time: t, tokens written before the choice.

        Returns:
            float64[K, Q_t], arc chosen and state in which it was.
        """
        if self.automaton.execution is not None:
            return self._to_go_executed(values, time, self.automaton.execution)
        after, ends = self.arrivals(time)
        if values is None or not values.size:  # the last step, or nothing goes on beyond it
            going_on = self.automaton.horizon_reward[after]
        else:
            row = self.reference.arc_contexts * values.shape[1]
            # where nothing goes on the place is -1, and any value will do
            index = self.places[time + 1][after]
            index += row[:, None]
            going_on = np.empty(index.shape)
            np.take(np.ravel(values), index, out=going_on, mode="wrap")
        np.copyto(going_on, 0.0, where=ends)
        if self.replies is not None:
            worth = self.reply_worth(self.replies, values, time)[after]
            if self.end_token is not None:
                last_word = self.reply_worth(self.replies, values, time, ended=True)
                worth[self.end_token] = last_word[after[self.end_token]]
            np.copyto(going_on, worth, where=self.columns(self._speaks, time))
        going_on += self.columns(self._paid, time)
        return going_on

    def reply_worth(
        self, replies: Replies, values: FloatArray | None, time: int, *, ended: bool = False
    ) -> FloatArray:
        """float64[Q], what is expected after what each speaking state writes, zero where none is written.

        Args:
            replies: of the automaton.
            values: as of `to_go`.
            time: tokens written before the choice that led there.
            ended: whether the choice was the end token.
        """
        automaton, after = self.automaton, replies.after
        if values is None or not values.size:
            going_on = automaton.horizon_reward[after]
        else:
            going_on = values[self.told_contexts, np.maximum(self.places[time + 1][after], 0)]
        over = automaton.absorbing[after] | ended
        return replies.mean(np.where(over, automaton.final_reward[after], going_on))

    def _to_go_executed(self, values: FloatArray | None, time: int, execution: FloatArray) -> FloatArray:
        automaton, states = self.automaton, self.reached[time]
        contexts = self.reference.arc_contexts
        result = np.zeros((automaton.vocab_size, states.size))
        for executed in range(automaton.vocab_size):
            chosen = np.flatnonzero(execution[:, executed])
            after = automaton.transition[states, executed]
            if values is None or not values.size:
                going_on = np.broadcast_to(automaton.horizon_reward[after], (chosen.size, after.size))
            else:
                going_on = values[contexts[chosen][:, None], self.places[time + 1][after][None, :]]
            ends = np.broadcast_to(automaton.absorbing[after], going_on.shape)
            if self.end_token is not None:
                ends = ends | (chosen == self.end_token)[:, None]
            paid = automaton.reward[states, executed]
            worth = paid + np.where(ends, automaton.final_reward[after], going_on)
            result[chosen] += execution[chosen, executed][:, None] * worth
        return result

    def advance(self, joint: FloatArray, time: int) -> tuple[FloatArray, FloatArray]:
        """What ends and what goes on of the mass on arcs float64[K, Q_t], which is used up.

        Returns:
            float64[Q], what ended before the horizon's own end, by state; float64[C, Q_(t+1)], what goes on,
            of all states after the last step.
        """
        contexts, states = self.reference.contexts, self.automaton.states
        after, ends = self.arrivals(time)
        last = time == self.horizon - 1
        place = np.arange(states) if last else np.maximum(self.places[time + 1], 0)
        width = states if last else self.reached[time + 1].size
        ended = np.bincount(after[ends], weights=joint[ends], minlength=states).astype(np.float64, copy=False)
        told = None if self.replies is None else self._advance_replies(self.replies, joint, time)
        if told is not None:
            ended += np.bincount(told.after, weights=told.over, minlength=states)
        if width == 0:  # every text has ended
            return ended, np.zeros((contexts, 0))
        joint[ends] = 0.0
        into = self.reference.arc_contexts[:, None] * width + place[after]
        going_on = np.bincount(into.ravel(), weights=np.ravel(joint), minlength=contexts * width)
        if told is not None:
            into = self.told_contexts * width + place[told.after]
            going_on = going_on + np.bincount(into, weights=told.going_on, minlength=contexts * width)
        return ended, np.reshape(going_on.astype(np.float64, copy=False), (contexts, width))

    def _advance_replies(self, replies: Replies, joint: FloatArray, time: int) -> Told:
        """Take the mass on arcs [V, Q_t] that a reply follows out of ``joint``; where it goes."""
        after, spoken = self.columns(self._after, time), self.columns(self._speaks, time)
        mass, size = np.where(spoken, joint, 0.0), self.automaton.states
        joint[spoken] = 0.0
        last_words = np.zeros(size)
        if self.end_token is not None:
            last_words = np.bincount(after[self.end_token], weights=mass[self.end_token], minlength=size)
            mass[self.end_token] = 0.0
        by_state = np.bincount(after.ravel(), weights=mass.ravel(), minlength=size)
        return self.told(replies, by_state.astype(np.float64), last_words.astype(np.float64))

    def told(self, replies: Replies, mass: FloatArray, last_words: FloatArray) -> Told:
        """Where mass float64[Q] on speaking states goes; last_words [Q]: what the end token led there."""
        spread = replies.spread(mass)
        over = np.where(self.automaton.absorbing[replies.after], spread, 0.0)
        return Told(replies.after, over + replies.spread(last_words), spread - over)

    def at_starts(self, values: FloatArray) -> FloatArray:
        """Values float64[N] of the starts, of values float64[C, Q_0]."""
        context, state, _ = self.starts
        return values[context, self.places[0][state]]

    def at_start(self, values: FloatArray) -> float:
        """Mean over the starts of values float64[C, Q_0]."""
        return float(self.starts[2] @ self.at_starts(values))

    @cached_property
    def reference_values(self) -> FloatArray:
        """float64[N], E_0[r] of each of the `starts`, by a linear backward pass, free of kl_coef."""
        values: FloatArray | None = None
        own = 0.0
        if self.automaton.context_reward is not None:
            rows = self.reference.rows(np.arange(self.reference.contexts))
            own = (np.exp(rows) * self.automaton.context_reward).sum(axis=1, keepdims=True)
        for time in reversed(range(self.horizon)):
            values = self.reference.mean(self.to_go(values, time)) + own
        assert values is not None
        return self.at_starts(values)

    @property
    def reference_value(self) -> float:
        """J(pi0) = E_0[r]."""
        return float(self.starts[2] @ self.reference_values)
