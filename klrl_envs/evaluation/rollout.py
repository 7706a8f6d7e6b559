"""Episodes of a policy with the exact KL at every state: what ``evaluate`` averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeGuard, cast, get_args

import numpy as np
from numpy.typing import NDArray

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.envs.observation import TokenObserver, observer_of
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.seeds import evaluation_stream
from klrl_envs.policies import (
    CachedPolicy,
    LogProbKind,
    Policy,
    PolicyName,
    PolicyObject,
    SequencePolicy,
    StatePolicy,
    TokenPolicy,
    as_policy,
)
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.rows import TokenRows
from klrl_envs.tasks.base import Task

NUMBERS = 1 << 20
"""Entries of the largest array of rows [lanes, V] that a batch may have."""

RowSource = Callable[[IntArray, IntArray | None], Any]
"""(lanes int64[K], tokens int64[N] of the step before or None at the start) -> rows float[K, V]."""


@dataclass
class Spread:
    """How far the tokens drawn may carry the sum of a log-ratio from the sum of its means, as the rows say.

    Attributes:
        variance: float64[E], of the log-ratio under the row, summed over states, nats^2.
        largest: float64[E], the farthest that any one token may lie from the mean, nats.
    """

    variance: FloatArray
    largest: FloatArray

    def add(self, lanes: IntArray, variance: FloatArray, largest: FloatArray) -> None:
        """One more state in each of these lanes."""
        self.variance[lanes] += variance
        self.largest[lanes] = np.maximum(self.largest[lanes], largest)


@dataclass
class Batch:
    """What episodes gave, each sum over the tokens written and nothing after the end.

    Attributes:
        reward: float64[E].
        log_ratio: float64[E], log pi - log pi0 of the text, nats; a bound where the policy knows no more.
        kl: float64[E], the exact KL(pi(.|s) || pi0(.|s)) summed over states, nats; None where the policy
            has no form token by token.
        entropy: float64[E], the entropy of pi(.|s) summed over states, nats; None likewise.
        other_kl: float64[E], KL(pi(.|s) || other(.|s)) summed over states; None where there is no other.
        spread: of log pi - log pi0 around its mean at each state, None where ``kl`` is.
        other_spread: of log other - log pi0 likewise, None where ``other_kl`` is.
        length: int64[E], tokens.
        metrics: float64[E] arrays by name.
    """

    reward: FloatArray
    log_ratio: FloatArray
    kl: FloatArray | None
    entropy: FloatArray | None
    other_kl: FloatArray | None
    spread: Spread | None
    other_spread: Spread | None
    length: IntArray
    metrics: dict[str, FloatArray]

    @classmethod
    def empty(cls, size: int) -> Batch:
        """Nothing yet, of ``size`` episodes."""

        def zeros() -> FloatArray:
            return np.zeros(size)

        return cls(zeros(), zeros(), None, None, None, None, None, np.zeros(size, dtype=np.int64), {})

    def note(self, finished: IntArray, metrics: dict[str, NDArray[Any]]) -> None:
        """Keep the numbers among the metrics of lanes that ended."""
        for name, values in metrics.items():
            if values.dtype.kind in "fiub" and values.ndim == 1:
                self.metrics.setdefault(name, np.zeros(len(self.reward)))[finished] = values


@dataclass(kw_only=True)
class Episodes(Batch):
    """All episodes of a roll-out.

    Attributes:
        prompt: int64[E].
        kind: what the policy's log-probs are.
    """

    prompt: IntArray
    kind: LogProbKind

    def take(self, index: slice | IntArray) -> Episodes:
        """Some of the episodes, or some of them several times."""

        def chosen(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: part[index] for name, part in cast(dict[str, FloatArray], value).items()}
            if isinstance(value, Spread):
                return Spread(value.variance[index], value.largest[index])
            return cast(Any, value[index]) if isinstance(value, np.ndarray) else value

        return Episodes(**{each.name: chosen(getattr(self, each.name)) for each in fields(self)})


def lanes_of(task: Task) -> int:
    """How many lanes keep a batch within bounded memory: 16 to 1,024."""
    return int(np.clip(NUMBERS // task.vocab_size, 16, 1024))


def roll_out(
    policy: Policy,
    task: Task,
    *,
    episodes: int,
    seed: int,
    part: int = 0,
    features: bool = False,
    other: Policy | None = None,
    other_features: bool = False,
) -> Episodes:
    """Sample episodes of a policy, the task's prompts in turn.

    Args:
        policy: see ``klrl_envs.policies``; of the names only "reference" and "uniform" here.
        task: on the prompts to use.
        episodes: how many, E; episode e has prompt e modulo the number of prompts.
        seed: of the tokens, the starts and whatever else is drawn, in streams that no training shares.
        part: tells roll-outs of one seed apart.
        features: show the observations of the features id.
        other: another policy that has rows, to compare with at every state, or None.
        other_features: show that one the observations of the features id.

    Raises:
        TypeError: not a policy, or one that this task cannot show its state to, or its replies.
        ValueError: rows of a wrong shape, with NaN, or not normalised.
    """
    count = len(task.prompts.tokens)
    lanes = min(lanes_of(task), episodes)
    # batches of equal size, so that the last one does not waste lanes
    batches = -(-episodes // lanes)
    engine = Engine(task, -(-episodes // batches))
    engine.seed_lanes(evaluation_stream(seed, 2 * part))
    rng = evaluation_stream(seed, 2 * part + 1)
    policy = as_policy(policy)
    beside = None if other is None else row_source(as_policy(other), engine, other_features)
    play = player(policy, engine, rng, features=features, beside=beside)
    kind = kind_of(policy) if is_sequence_policy(policy) else "exact"
    parts: list[Batch] = []
    for first, size in batches_of(episodes, engine.lanes):
        prompts = (first + np.arange(engine.lanes)) % count
        engine.reset(np.arange(engine.lanes), prompts)
        parts.append(play(size))
    return join_batches(parts, np.arange(episodes) % count, kind)


def player(
    policy: PolicyObject | PolicyName,
    engine: Engine,
    rng: np.random.Generator,
    *,
    features: bool,
    beside: RowSource | None = None,
) -> Callable[[int], Batch]:
    """What plays a policy in the first so many lanes of an engine that was reset.

    Raises:
        TypeError: a policy of whole texts where the task replies in between, or see ``row_source``.
    """
    if not is_sequence_policy(policy):
        return TokenPlayer(row_source(policy, engine, features), engine, rng, beside)
    if engine.task.replies is not None:
        raise TypeError(
            f"{type(policy).__name__} samples whole texts, and {engine.task.id} replies in between: "
            "give log_probs"
        )
    return SequencePlayer(policy, engine, rng)


def kind_of(policy: SequencePolicy) -> LogProbKind:
    """What a policy says that its log-probs are; ValueError for anything else."""
    said = getattr(policy, "log_prob_kind", "exact")
    if type(said) is not str or said not in get_args(LogProbKind):
        raise ValueError(f"log_prob_kind must be one of {get_args(LogProbKind)}, got {said!r}")
    return cast(LogProbKind, said)


def is_sequence_policy(policy: PolicyObject | PolicyName) -> TypeGuard[SequencePolicy]:
    """Whether a policy samples whole texts and has no rows."""
    return isinstance(policy, SequencePolicy) and not isinstance(policy, (TokenPolicy, StatePolicy))


def row_source(policy: PolicyObject | PolicyName, engine: Engine, features: bool) -> RowSource:
    """How to ask a policy for its rows along an engine's lanes.

    Raises:
        TypeError: it has no rows, or needs what the task does not have.
        ValueError: "optimal", which only ``evaluate`` knows.
    """
    task = engine.task
    if isinstance(policy, str):
        return named_rows(policy, engine)
    if isinstance(policy, StatePolicy):
        if task.exact is not None:
            return lambda lanes, _: policy.state_log_probs(
                engine.context[lanes].copy(), engine.state[lanes].copy(), engine.time[lanes].copy()
            )
        if not isinstance(policy, TokenPolicy):
            raise TypeError(
                f"state_log_probs needs an exact environment, and {task.id} is none: give log_probs"
            )
    if not isinstance(policy, TokenPolicy):
        raise TypeError(f"{type(policy).__name__} has no rows of log-probs, which are needed here")
    observer = observer_of(task, features=features)
    # a cached policy is told the agent's tokens alone: where the task writes, too, it reads the whole text
    if isinstance(policy, CachedPolicy) and isinstance(observer, TokenObserver) and task.replies is None:
        start, step = policy.start, policy.step

        def cached(lanes: IntArray, tokens: IntArray | None) -> Any:
            rows = start(engine.tokens[:, : task.prompt_length].copy()) if tokens is None else step(tokens)
            return rows if len(lanes) == engine.lanes else rows[lanes]

        return cached
    return lambda lanes, _: policy.log_probs(observer.observe(engine)[lanes])


def named_rows(name: PolicyName, engine: Engine) -> RowSource:
    """The rows of "reference" or "uniform"; ValueError for "optimal", which depends on more than the task."""
    if name == "reference":
        return lambda lanes, _: engine.reference_log_probs()[lanes]
    if name == "uniform":
        size = engine.task.vocab_size
        return lambda lanes, _: np.full((len(lanes), size), -np.log(size))
    raise ValueError("policy must be 'reference', 'uniform' or an object here, got 'optimal'")


def asked(purpose: str, answer: Callable[..., Any], *arguments: Any) -> Any:
    """What a policy answers. Texts that it has rewarded meanwhile are a search, and count in its budget."""
    with ledger.counting_as(purpose):
        return answer(*arguments)


class TokenPlayer:
    """Plays a policy that has rows."""

    def __init__(
        self, rows: RowSource, engine: Engine, rng: np.random.Generator, other: RowSource | None
    ) -> None:
        self._rows, self._engine, self._rng, self._other = rows, engine, rng, other

    def __call__(self, size: int) -> Batch:
        engine = self._engine
        batch = Batch.empty(size)
        batch.kl, batch.entropy = np.zeros(size), np.zeros(size)
        batch.spread = Spread(np.zeros(size), np.zeros(size))
        if self._other is not None:
            batch.other_kl = np.zeros(size)
            batch.other_spread = Spread(np.zeros(size), np.zeros(size))
        active = np.arange(engine.lanes) < size
        tokens: IntArray | None = None
        while active.any():
            lanes = np.flatnonzero(active)
            shape = (len(lanes), engine.task.vocab_size)
            rows = TokenRows(asked("search", self._rows, lanes, tokens), shape, "the policy")
            whole = engine.reference_log_probs()
            reference = whole if len(lanes) == engine.lanes else whole[lanes]
            chosen = rows.sample(self._rng)
            batch.kl[lanes] += rows.kl(reference)
            batch.log_ratio[lanes] += rows.log_prob(chosen) - reference[np.arange(len(lanes)), chosen]
            batch.entropy[lanes] += rows.entropy()
            batch.spread.add(lanes, *rows.spread(rows.rows - reference))
            if self._other is not None and batch.other_kl is not None and batch.other_spread is not None:
                beside = TokenRows(self._other(lanes, tokens), shape, "the other policy").normalised()
                batch.other_kl[lanes] += rows.kl(beside)
                batch.other_spread.add(lanes, *rows.spread(beside - reference))
            tokens = np.zeros(engine.lanes, dtype=np.int64)
            tokens[lanes] = chosen
            result = engine.step(tokens, active)
            batch.reward += result.reward[:size]
            batch.note(result.finished, result.metrics)
            active &= ~result.terminated
        batch.length[:] = engine.time[:size]
        return batch


class SequencePlayer:
    """Plays what samples whole texts."""

    def __init__(self, policy: SequencePolicy, engine: Engine, rng: np.random.Generator) -> None:
        self._policy, self._engine, self._rng = policy, engine, rng
        # rejection is how pi* is drawn where it has no rows: a bound, outside any budget
        self._purpose = "evaluation" if type(policy) is RejectionSampler else "search"

    def __call__(self, size: int) -> Batch:
        engine, task = self._engine, self._engine.task
        prompts = engine.tokens[:size, : task.prompt_length].copy()
        tokens, log_prob = asked(self._purpose, self._policy.sample, prompts, self._rng)
        tokens, log_prob = np.asarray(tokens), np.asarray(log_prob, dtype=np.float64)
        if tokens.ndim != 2 or len(tokens) != size or log_prob.shape != (size,):
            raise ValueError(
                f"sample must return tokens [{size}, T] and log_prob [{size}], "
                f"returned shapes {tokens.shape} and {log_prob.shape}"
            )
        if not np.isfinite(log_prob).all():
            wrong = log_prob[~np.isfinite(log_prob)][0]
            raise ValueError(f"a text that was sampled has a finite log_prob, sample returned {wrong}")
        batch = Batch.empty(size)
        batch.log_ratio += log_prob
        active = np.arange(engine.lanes) < size
        for time in range(task.horizon):
            if not active.any():
                break
            if time >= tokens.shape[1]:
                raise ValueError(
                    f"sample returned {tokens.shape[1]} tokens, and a text had not ended by then"
                )
            column = np.zeros(engine.lanes, dtype=np.int64)
            column[:size] = np.where(active[:size], tokens[:, time], 0)
            result = engine.step(column, active)
            batch.reward += result.reward[:size]
            assert result.reference_log_prob is not None
            batch.log_ratio -= result.reference_log_prob[:size]
            batch.note(result.finished, result.metrics)
            active &= ~result.terminated
        batch.length[:] = engine.time[:size]
        return batch


def batches_of(episodes: int, lanes: int) -> Iterator[tuple[int, int]]:
    """First episode and size of each batch."""
    for first in range(0, episodes, lanes):
        yield first, min(lanes, episodes - first)


def join_batches(parts: list[Batch], prompt: IntArray, kind: LogProbKind) -> Episodes:
    """The episodes of all batches, in turn."""

    def together(name: str) -> FloatArray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    def spreads(name: str) -> Spread | None:
        found: list[Spread] = [spread for part in parts if (spread := getattr(part, name)) is not None]
        variance, largest = [each.variance for each in found], [each.largest for each in found]
        return Spread(np.concatenate(variance), np.concatenate(largest)) if found else None

    names = parts[0].metrics.keys()
    return Episodes(
        prompt=prompt,
        reward=np.concatenate([part.reward for part in parts]),
        log_ratio=np.concatenate([part.log_ratio for part in parts]),
        kl=together("kl"),
        entropy=together("entropy"),
        other_kl=together("other_kl"),
        spread=spreads("spread"),
        other_spread=spreads("other_spread"),
        length=np.concatenate([part.length for part in parts]),
        metrics={name: np.concatenate([part.metrics[name] for part in parts]) for name in names},
        kind=kind,
    )
