"""The episode engine: N lanes of tokens, arrays in, arrays out. Both kinds of environment are it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs import ledger
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray, LogProbs
from klrl_envs.reference.protocol import ReferenceLanes
from klrl_envs.reward.replies import NOTHING, Replies
from klrl_envs.tasks.base import Metrics, Task

BLOCK = 64


@dataclass(frozen=True)
class StepResult:
    """What one step of N lanes gave; what the task wrote then is the engine's ``environment_tokens``.

    Attributes:
        reward: float64 [N], zero on lanes that did not step.
        terminated: bool [N].
        reference_log_prob: float64 [N], log pi0 of the tokens taken in nats; None in mode "end".
        finished: int64 [K], the lanes that ended.
        metrics: arrays [K] of the finished lanes, ``text`` among them; in mode "end" also
            ``reference_log_prob`` [K, T], zero after the end.
    """

    reward: FloatArray
    terminated: BoolArray
    reference_log_prob: FloatArray | None
    finished: IntArray
    metrics: Metrics = field(default_factory=dict[str, NDArray[Any]])


class LaneRandomness:
    """Uniform numbers from a generator per lane, drawn in blocks, as a call per number would be slow."""

    def __init__(self, lanes: int) -> None:
        self._generators: list[np.random.Generator | None] = [None] * lanes
        self._block = np.zeros((lanes, BLOCK))
        self._cursor = np.full(lanes, BLOCK, dtype=np.int64)

    def seed(self, lane: int, generator: np.random.Generator) -> None:
        """Give a lane its generator; what was left of its block is dropped."""
        self._generators[lane] = generator
        self._cursor[lane] = BLOCK

    def state(self) -> dict[str, Any]:
        """Where all lanes stand, as plain numbers and arrays."""
        states = [None if one is None else one.bit_generator.state for one in self._generators]
        return {"generators": states, "block": self._block.copy(), "cursor": self._cursor.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state back; every lane that had a generator must have one of the same kind."""
        for generator, known in zip(self._generators, state["generators"], strict=True):
            if generator is not None:
                generator.bit_generator.state = known
        self._block[:], self._cursor[:] = state["block"], state["cursor"]

    def draw(self, lanes: IntArray) -> FloatArray:
        """One uniform number [K] in [0, 1) for each of the lanes [K]."""
        empty: IntArray = lanes[self._cursor[lanes] >= BLOCK]
        for place in range(len(empty)):
            lane = int(empty[place])
            generator = self._generators[lane]
            if generator is None:
                raise RuntimeError(f"lane {lane} has no generator: call seed before reset")
            self._block[lane] = generator.random(BLOCK)
            self._cursor[lane] = 0
        drawn = self._block[lanes, self._cursor[lanes]]
        self._cursor[lanes] += 1
        return drawn

    def draw_normal(self, lanes: IntArray) -> FloatArray:
        """A standard normal number [K] for each of the lanes [K], from two uniform ones (Box and Muller)."""
        radius = np.sqrt(-2 * np.log1p(-self.draw(lanes)))
        return radius * np.cos(2 * np.pi * self.draw(lanes))


class Engine:
    """N lanes of one task.

    Args:
        task: what is played.
        lanes: how many episodes run side by side, N.
        reference_log_prob: "step" reports log pi0 of each token as it is taken; "end" reports none
            until an episode ends, then all of its tokens from one parallel pass.

    Attributes:
        tokens: int64 [N, L], prompt and tokens so far, padded on the right with ``task.pad``.
        length, time: int64 [N], tokens in the row, and tokens that the agent wrote.
        state: int64 [N], the automaton's state (zero where there is none).
        environment_tokens: int64 [N, R], what the task wrote since the agent's last token, or since the
            reset, padded with ``task.pad``; None where it never writes.
        done: bool [N], ended and not yet reset.
        prompt_index: int64 [N].
        reference_nats: float64 [N], log pi0 of what the agent wrote so far (in mode "end": at the end).
        taken: tokens that agents wrote in all lanes since the engine was made.
    """

    def __init__(self, task: Task, lanes: int, reference_log_prob: str = "step") -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, got {lanes}")
        if reference_log_prob not in ("step", "end"):
            raise ValueError(f"reference_log_prob must be 'step' or 'end', got {reference_log_prob!r}")
        self.task = task
        self.lanes = lanes
        self.mode = reference_log_prob
        self.tokens = np.full((lanes, task.max_length), task.pad, dtype=np.int64)
        self.length = np.zeros(lanes, dtype=np.int64)
        self.time = np.zeros(lanes, dtype=np.int64)
        self.state = np.zeros(lanes, dtype=np.int64)
        self.done = np.ones(lanes, dtype=np.bool_)
        self.prompt_index = np.zeros(lanes, dtype=np.int64)
        self.reference_nats = np.zeros(lanes)
        self.taken = 0
        self._every_lane = np.arange(lanes)
        self._randomness = LaneRandomness(lanes)
        self._reference_lanes: ReferenceLanes | None = None
        self._cumulative_start: FloatArray | None = None
        if task.exact is not None and task.exact.prompt_states is None:
            self._cumulative_start = np.cumsum(task.exact.automaton.start)[:-1]
        self._cumulative_execution: FloatArray | None = None
        if task.exact is not None and task.exact.automaton.execution is not None:
            self._cumulative_execution = np.cumsum(task.exact.automaton.execution, axis=1)
        self.environment_tokens: IntArray | None = None
        self._longest_reply = 0 if task.replies is None else task.replies.longest
        if task.replies is not None:
            self.environment_tokens = np.full((lanes, self._longest_reply), task.pad, dtype=np.int64)
            self._is_environments = np.zeros(self.tokens.shape, dtype=np.bool_)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reference_lanes": None}

    def seed(self, lane: int, generator: np.random.Generator) -> None:
        """Give a lane its source of randomness."""
        self._randomness.seed(lane, generator)

    def seed_lanes(self, source: np.random.Generator | Iterable[np.random.Generator]) -> None:
        """Give every lane a generator of its own: of those given, or spawned from the one given."""
        spawned = source.spawn(self.lanes) if isinstance(source, np.random.Generator) else source
        for lane, generator in zip(range(self.lanes), spawned, strict=True):
            self.seed(lane, generator)

    def randomness(self) -> dict[str, Any]:
        """Where the lanes' randomness stands, as plain numbers and arrays."""
        return self._randomness.state()

    def restore_randomness(self, state: Mapping[str, Any]) -> None:
        """Put back what ``randomness`` gave, in an engine whose lanes are seeded."""
        self._randomness.restore(state)

    def reset(self, lanes: IntArray, prompt: int | IntArray | None = None) -> None:
        """Begin an episode in each of ``lanes`` [K], from a prompt drawn at random or from ``prompt``.

        Raises:
            ValueError: no such prompt.
        """
        task = self.task
        prompts = task.prompts
        count = len(prompts.tokens)
        if prompt is None:
            prompt = np.zeros(len(lanes), dtype=np.int64)
            if count > 1:
                prompt = (self._randomness.draw(lanes) * count).astype(np.int64)
        index = np.asarray(prompt)
        whole = index.dtype.kind in "iu" and index.shape in ((), lanes.shape)
        if not whole or (index.size and not (index.min() >= 0 and index.max() < count)):
            raise ValueError(f"prompt must be in 0..{count - 1}, one for all or one per lane, got {prompt!r}")
        index = np.broadcast_to(index.astype(np.int64, copy=False), lanes.shape)
        if task.prompt_length:
            inside = np.arange(task.prompt_length) < prompts.lengths[index, None]
            self.tokens[lanes, : task.prompt_length] = np.where(inside, prompts.tokens[index], task.pad)
        self.tokens[lanes, task.prompt_length :] = task.pad
        self.prompt_index[lanes] = index
        self.length[lanes] = prompts.lengths[index]
        self.time[lanes] = 0
        self.reference_nats[lanes] = 0
        self.done[lanes] = False
        if task.exact is not None and task.exact.prompt_states is not None:
            self.state[lanes] = task.exact.prompt_states[index]
        elif self._cumulative_start is not None and len(self._cumulative_start):
            drawn = self._randomness.draw(lanes)
            self.state[lanes] = np.searchsorted(self._cumulative_start, drawn, side="right")
        if self.environment_tokens is not None:
            self._is_environments[lanes] = False
            self._reply(lanes)
        if self._reference_lanes is not None:
            written = self.tokens[lanes, : task.prompt_length + self._longest_reply]
            self._reference_lanes.reset(lanes, written, self.length[lanes])

    def step(self, actions: IntArray, active: BoolArray | None = None) -> StepResult:
        """Append ``actions`` [N] to the lanes where ``active`` [N]; all lanes by default.

        Raises:
            ValueError: a token is out of range.
            RuntimeError: an active lane has ended and was not reset.
        """
        if active is None:
            active = np.ones(self.lanes, dtype=np.bool_)
        actions = self._checked(actions, active)
        lanes = self._every_lane if active.all() else np.flatnonzero(active)
        reward = np.zeros(self.lanes)
        ended = self._advance(actions, lanes, reward)
        reference_log_prob = None
        if self.mode == "step":
            log_prob = self.reference_lanes.log_prob(actions, active)
            reference_log_prob = np.where(active, log_prob, 0.0)
            self.reference_nats += reference_log_prob
        self.tokens[lanes, self.length[lanes]] = actions[lanes]
        self.length[lanes] += 1
        self.time[lanes] += 1
        if self.environment_tokens is not None:
            ended |= self._reply(lanes)
        terminated = np.zeros(self.lanes, dtype=np.bool_)
        terminated[lanes] = ended | (self.time[lanes] >= self.task.horizon)
        finished = np.flatnonzero(terminated)
        self.done[finished] = True
        metrics = self._finish(finished, reward, ended[np.searchsorted(lanes, finished)])
        if self._reference_lanes is not None:
            self._reference_lanes.step(actions, active & ~terminated)
            if self.environment_tokens is not None:
                self._read_replies(self._reference_lanes, self.environment_tokens, active & ~terminated)
        self.taken += len(lanes)
        ledger.count(self.task.id, self.task.split, len(lanes), len(finished))
        return StepResult(reward, terminated, reference_log_prob, finished, metrics)

    def reference_log_probs(self) -> LogProbs:
        """log pi0(.|s) [N, V] in nats at the current states, computed once per step; do not write to it."""
        return self.reference_lanes.log_probs()

    @property
    def reference_lanes(self) -> ReferenceLanes:
        """The reference along the lanes, brought up to their tokens when first asked for."""
        if self._reference_lanes is None:
            self._reference_lanes = self.task.reference.lanes(self.lanes, self.task.max_length)
            longest = int(self.length.max())
            self._reference_lanes.reset(self._every_lane, self.tokens[:, :longest], self.length)
        return self._reference_lanes

    @property
    def context(self) -> IntArray:
        """The n-gram context [N] of an exact task."""
        lanes: Any = self.reference_lanes
        return lanes.context

    def written(self) -> IntArray:
        """The tokens after the prompt, int64 [N, T], padded with ``task.pad``; [N, T + room for what the
        task writes], with that among them, where it writes.
        """
        first, most = self.prompt_lengths()[:, None], self.task.horizon + self.task.reply_room
        padded = np.pad(self.tokens, ((0, 0), (0, most)), constant_values=self.task.pad)
        return np.take_along_axis(padded, first + np.arange(most), axis=1)

    def prompt_lengths(self) -> IntArray:
        """int64 [N], tokens of the lanes' prompts."""
        return self.task.prompts.lengths[self.prompt_index]

    def agent_mask(self) -> BoolArray:
        """bool [N, L], which of ``tokens`` the agent wrote: no prompt, none of the task's own, no padding."""
        place = np.arange(self.task.max_length)
        own = (place >= self.prompt_lengths()[:, None]) & (place < self.length[:, None])
        return own if self.environment_tokens is None else own & ~self._is_environments

    def _reply(self, lanes: IntArray) -> BoolArray:
        """Write what the task says in those of ``lanes`` [K] whose state speaks; which [K] that has ended."""
        exact, replies = self.task.exact, self.task.replies
        assert exact is not None and replies is not None and self.environment_tokens is not None
        self.environment_tokens[lanes] = self.task.pad
        speaking = lanes[replies.speaks[self.state[lanes]]]
        if len(speaking):
            self._write_reply(replies, speaking)
        return exact.automaton.absorbing[self.state[lanes]]

    def _write_reply(self, replies: Replies, speaking: IntArray) -> None:
        """Draw and write what the task says in lanes [K]."""
        assert self.environment_tokens is not None
        outcome = replies.draw(self.state[speaking], self._randomness.draw(speaking))
        self.state[speaking] = replies.after[outcome]
        texts = replies.texts[replies.text[outcome]]
        row, place = np.nonzero(texts != NOTHING)
        column = self.length[speaking[row]] + place
        self.environment_tokens[speaking[row], place] = texts[row, place]
        self.tokens[speaking[row], column] = texts[row, place]
        self._is_environments[speaking[row], column] = True
        self.length[speaking] += replies.lengths[replies.text[outcome]]

    def _read_replies(self, reference: ReferenceLanes, told: IntArray, going: BoolArray) -> None:
        """Have pi0 read what the task wrote, int64 [N, R], in the lanes that go on, bool [N]."""
        for column in np.transpose(told):
            there = going & (column != self.task.pad)
            if not there.any():
                break
            reference.step(np.where(there, column, 0), there)

    def _checked(self, actions: IntArray, active: BoolArray) -> IntArray:
        actions = np.asarray(actions)
        if actions.shape != (self.lanes,) or actions.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape ({self.lanes},), got {actions.dtype} {actions.shape}"
            )
        actions = np.where(active, actions, 0).astype(np.int64, copy=False)
        if actions.min() < 0 or actions.max() >= self.task.vocab_size:
            wrong = actions[(actions < 0) | (actions >= self.task.vocab_size)][0]
            raise ValueError(f"action must be a token in 0..{self.task.vocab_size - 1}, got {wrong}")
        if (self.done & active).any():
            lane = int(np.flatnonzero(self.done & active)[0])
            raise RuntimeError(f"lane {lane} has ended (or was never reset): call reset before step")
        return actions

    def _advance(self, actions: IntArray, lanes: IntArray, reward: FloatArray) -> BoolArray:
        """Move the automaton of ``lanes`` [K], add to ``reward`` [N], tell which lanes [K] ended."""
        task, taken = self.task, actions[lanes]
        if task.exact is None:
            return taken == (-1 if task.end_token is None else task.end_token)
        automaton = task.exact.automaton
        executed = None
        if self._cumulative_execution is not None:
            drawn = self._randomness.draw(lanes)
            below = self._cumulative_execution[taken] <= drawn[:, None]
            executed = np.minimum(below.sum(axis=1), task.vocab_size - 1)
        context = None if automaton.context_reward is None else self.context[lanes]
        reward[lanes], self.state[lanes], ends = automaton.read(
            self.state[lanes], taken, context=context, executed=executed, end_token=task.end_token
        )
        return ends

    def _finish(self, finished: IntArray, reward: FloatArray, ended: BoolArray) -> Metrics:
        """Pay the final rewards of ``finished`` [K]; ``ended`` [K]: before the horizon's own end."""
        if len(finished) == 0:
            return {}
        task, exact = self.task, self.task.exact
        tokens, lengths = self.tokens[finished], self.length[finished]
        metrics: Metrics
        if exact is None:
            reward[finished], metrics = task.score(tokens, lengths, counted=True)
        else:
            state = self.state[finished]
            reward[finished] += exact.automaton.settle(state, ended)
            if task.reward_noise:
                reward[finished] += task.reward_noise * self._randomness.draw_normal(finished)
            decode = task.vocabulary.decode
            texts = [decode(row[:length]) for row, length in zip(tokens.tolist(), lengths, strict=True)]
            metrics = {"text": np.array(texts, dtype=object)}
            metrics |= {name: values[state] for name, values in exact.final_metrics.items()}
        if self.mode == "end":
            whole = self._whole_log_probs(finished)
            metrics["reference_log_prob"] = whole
            self.reference_nats[finished] = whole.sum(axis=1)
        if exact is None:
            metrics["perplexity"] = np.exp(-self.reference_nats[finished] / self.time[finished])
        return metrics

    def _whole_log_probs(self, finished: IntArray) -> FloatArray:
        """log pi0 [K, T] of the tokens that the agent wrote in lanes [K], zero after the end."""
        lengths, first = self.length[finished], self.prompt_lengths()[finished]
        all_positions = self.task.reference.sequence_log_probs(self.tokens[finished], first, lengths)
        horizon = self.task.horizon
        if self.environment_tokens is None:
            columns = first[:, None] + np.arange(horizon)
            padded = np.pad(all_positions, ((0, 0), (0, horizon)))
            return np.take_along_axis(padded, columns, axis=1)
        own = self.agent_mask()[finished]
        columns = np.argsort(~own, axis=1, kind="stable")[:, :horizon]
        return np.take_along_axis(np.where(own, all_positions, 0.0), columns, axis=1)
