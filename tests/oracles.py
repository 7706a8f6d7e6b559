"""What the library is compared with: every text written out, random instances, random policies, closed forms.

The oracles know nothing of tables, matrix products or backward passes. They write each text token by token,
price it and add up.
"""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs import exact_task
from klrl_envs.optima.dynamic_programme import Solution, solve_problem
from klrl_envs.optima.forward import MarkovEvaluation, PolicyRows, evaluate_markov
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.problem import Problem
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.markov import MarkovModel, MarkovReference, UniformReference
from klrl_envs.reference.trigram import TrigramReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.registry import make_task
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask

Text = tuple[int, ...]


def random_rows(rng: np.random.Generator, *shape: int, spread: float = 1.0) -> np.ndarray:
    """Log-probs, normalised along the last axis."""
    rows = spread * rng.normal(size=shape)
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def random_bigram(rng: np.random.Generator, tokens: int) -> MarkovReference:
    """A random row for the start, and one for each last token."""
    rows = random_rows(rng, tokens + 1, tokens)
    return MarkovReference(rows[0], rows[1:])


def random_env(
    seed: int = 0,
    *,
    tokens: int = 5,
    horizon: int = 6,
    kl_coef: float = 0.5,
    **automaton: Any,
) -> Any:
    """An environment of three states, paid at every step and at the end; token 0 ends it."""
    rng = np.random.default_rng(seed)
    reference = random_bigram(rng, tokens)
    transition = rng.integers(0, 3, (3, tokens))
    rewards = RewardAutomaton(transition, rng.normal(size=(3, tokens)), rng.normal(size=3), **automaton)
    return exact_task(reference, rewards, horizon=horizon, kl_coef=kl_coef, end_token=0)


class RandomPolicy:
    """A random policy that is Markov in (context, state, time)."""

    def __init__(self, task: AutomatonTask | Instance, seed: int, spread: float = 1.0) -> None:
        shape = (task.reference.contexts, task.automaton.states, task.horizon, task.automaton.vocab_size)
        self.table = random_rows(np.random.default_rng(seed), *shape, spread=spread)

    def state_log_probs(self, context: Any, state: Any, time: Any) -> np.ndarray:
        return self.table[context, state, time]


class Numbers(NamedTuple):
    """What `Optimum` and `Solution` state."""

    value: float
    reference_value: float
    expected_reward: float
    kl: float


def summed(log_probs: Sequence[float], rewards: Sequence[float], kl_coef: float) -> Numbers:
    """J*, J(pi0), E*[r] and KL* of all texts, given log pi0 and the reward of each."""
    weights, paid = np.array(log_probs), np.array(rewards)
    assert math.fsum(np.exp(weights)) == pytest.approx(1.0, abs=1e-12)
    tilted = weights + paid / kl_coef
    top = tilted.max()
    log_z = top + math.log(math.fsum(np.exp(tilted - top)))
    posterior = np.exp(tilted - log_z)
    return Numbers(
        value=kl_coef * log_z,
        reference_value=math.fsum(np.exp(weights) * paid),
        expected_reward=math.fsum(posterior * paid),
        kl=math.fsum(posterior * (tilted - log_z - weights)),
    )


# Registered tasks.


def evaluation_task(task_id: str, **arguments: Any) -> AutomatonTask:
    """A task on its evaluation prompts."""
    task = make_task(task_id, **{"prompts": "evaluation", **arguments})
    assert isinstance(task, AutomatonTask)
    return task


def paid_for(env_id: str, words: Sequence[str], **arguments: Any) -> tuple[float, dict[str, Any]]:
    """The total reward and the last info of a text in an environment."""
    env: Any = gym.make(f"klrl/{env_id}", **arguments)
    env.reset(seed=0)
    index = {word: token for token, word in enumerate(env.unwrapped.task.vocabulary.words)}
    total, info = 0.0, {}
    for word in words:
        _, reward, _, _, info = env.step(index[word])
        total += reward
    return total, info


# Texts under a bigram alone: whoever asks prices them.


def texts_of(
    task: AutomatonTask, context: int | None = None, over: Callable[[Text], bool] = lambda text: False
) -> Iterator[tuple[Text, list[float]]]:
    """Every finished text after a context, and log pi0 of each of its tokens.

    A text is finished by the horizon, by the end token, or where `over` says so.
    """
    table, horizon, end_token = task.reference.table.tolist(), task.horizon, task.end_token
    first = task.reference.start_context if context is None else context
    waiting: list[tuple[Text, list[float]]] = [((), [])]
    while waiting:
        text, log_probs = waiting.pop()
        if text and (len(text) == horizon or text[-1] == end_token or over(text)):
            yield text, log_probs
            continue
        row = table[text[-1] if text else first]
        waiting += [((*text, token), [*log_probs, log_prob]) for token, log_prob in enumerate(row)]


def letter_reference(letters: str, end_token: int | None, seed: int = 0) -> LanguageModel:
    """A random bigram over a few letters."""
    generator = np.random.default_rng(seed)
    size = len(letters)
    rows = np.log(generator.dirichlet(np.full(size, 0.7), size + 1) * 0.9 + 0.1 / size)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    vocabulary = WordVocabulary(tuple(letters), end_token)
    return LanguageModel(MarkovReference(rows[-1], rows[:-1]), vocabulary, end_token)


def assert_exact(
    task: AutomatonTask,
    reward: Callable[[Text, list[float]], float],
    over: Callable[[Text], bool] = lambda text: False,
) -> None:
    """J*, J(pi0) and the law of pi* are those of the texts, priced by tokens and their log pi0."""
    found = [(sum(log_probs), reward(text, log_probs)) for text, log_probs in texts_of(task, over=over)]
    log_probs, rewards = zip(*found)
    assert len(set(rewards)) > 1
    known, best = summed(log_probs, rewards, task.kl_coef), optimum_of(task)
    assert best.value == pytest.approx(known.value, abs=1e-10)
    assert best.reference_value == pytest.approx(known.reference_value, abs=1e-10)
    assert best.expected_reward == pytest.approx(known.expected_reward, abs=1e-10)
    low, high = task.reward_range
    assert all(low <= value <= high for value in rewards)


# Instances: texts under any reference and automaton, from any start.


@dataclass
class Instance:
    """A tiny task: everything that `solve` takes.

    `counts` are the triples that a trigram was made of.
    """

    reference: MarkovModel
    automaton: RewardAutomaton
    horizon: int
    end_token: int | None
    kl_coef: float
    prompts: list[tuple[Text, int]] | None = None
    counts: dict[tuple[int, int, int], float] | None = None

    def __post_init__(self) -> None:
        """Plain lists, which the oracles read faster than arrays."""
        machine = self.automaton
        self.transition, self.reward = machine.transition.tolist(), machine.reward.tolist()
        self.final, self.at_horizon = machine.final_reward.tolist(), machine.horizon_reward.tolist()
        self.absorbing = machine.absorbing.tolist()
        self.rows = self.reference.rows(np.arange(self.reference.contexts)).tolist()
        extra = machine.context_reward
        self.extra = None if extra is None else extra.tolist()
        self.execution = [] if machine.execution is None else machine.execution.tolist()
        self.tokens = machine.vocab_size

    @classmethod
    def of(cls, task: AutomatonTask) -> Instance:
        """A task without prompts."""
        return cls(task.reference, task.automaton, task.horizon, task.end_token, task.kl_coef)

    @property
    def problem(self) -> Problem:
        prompts = None
        if self.prompts is not None:
            contexts = [self.context(text) for text, _ in self.prompts]
            prompts = (np.array(contexts), np.array([state for _, state in self.prompts]))
        return Problem(self.reference, self.automaton, self.horizon, self.end_token, prompts)

    def solve(self) -> Solution:
        return solve_problem(self.problem, self.kl_coef)

    def evaluate(self, policy_rows: PolicyRows) -> MarkovEvaluation:
        return evaluate_markov(self.problem, policy_rows, kl_coef=self.kl_coef)

    def context(self, text: Text) -> int:
        context = np.array(self.reference.start_context)
        for token in text:
            context = self.reference.next_context(context, np.array(token))
        return int(context)

    def log_prob(self, tokens: Text, token: int) -> float:
        """log pi0 of a token after others."""
        if len(self.rows) == 1:
            return -math.log(self.tokens)
        if self.counts is not None:
            return trigram_log_prob(self.reference, self.counts, tokens, token)
        return self.rows[tokens[-1] if tokens else self.tokens][token]

    def own_reward(self, tokens: Text, token: int) -> float:
        """What the context pays."""
        if self.extra is None:
            return 0.0
        return self.extra[tokens[-1] if tokens and len(self.extra) > 1 else -1][token]


def trigram_log_prob(
    reference: TrigramReference, counts: dict[tuple[int, int, int], float], tokens: Text, token: int
) -> float:
    """The formula, from the counts that the reference was made of."""
    row = reference.bigram.table[tokens[-1] if tokens else -1]
    if len(tokens) < 2 or not any(key[:2] == tokens[-2:] for key in counts):
        return float(row[token])
    total = sum(count for key, count in counts.items() if key[:2] == tokens[-2:])
    own = counts.get((tokens[-2], tokens[-1], token), 0.0)
    return math.log((own + reference.kappa * math.exp(row[token])) / (total + reference.kappa))


def draw(
    seed: int,
    *,
    execution: bool = False,
    terminal: bool = False,
    peaked: bool = False,
    trigram: bool = False,
    context_reward: bool = False,
    prompts: bool = False,
) -> Instance:
    """A random instance with at most a few thousand texts."""
    rng = np.random.default_rng(seed)
    states = int(rng.integers(1, 6))
    tokens = int(rng.integers(1 if seed % 10 == 0 else 2, 5))
    horizon = int(rng.integers(1, 4 if execution else 6 - tokens // 4))
    if rng.random() < 0.3 and not trigram:
        reference: MarkovModel = UniformReference(tokens)
    else:
        rows = random_rows(rng, tokens + 1, tokens, spread=3.0 if peaked else 1.0)
        reference = MarkovReference(rows[-1], rows[:-1])
    counts = None
    if trigram:
        triples = np.argwhere(rng.random((tokens, tokens, tokens)) < rng.random())
        numbers = rng.integers(1, 9, size=len(triples)).astype(float)
        reference = TrigramReference(reference, triples, numbers, float(rng.uniform(0.1, 3)))
        counts = {(u, v, w): number for (u, v, w), number in zip(triples.tolist(), numbers.tolist())}
    absorbing = (rng.random(states) < 0.3) & (np.arange(states) > 0)
    start = rng.dirichlet(np.ones(states)) * ~absorbing
    automaton = RewardAutomaton(
        rng.integers(states, size=(states, tokens)),
        None if terminal or rng.random() < 0.3 else rng.normal(size=(states, tokens)),
        rng.normal(size=states) if rng.random() < 0.8 else None,
        start / start.sum() if rng.random() < 0.5 else 0,
        absorbing=absorbing,
        horizon_reward=rng.normal(size=states) if rng.random() < 0.5 else None,
        execution=rng.dirichlet(np.ones(tokens), size=tokens) if execution else None,
        context_reward=rng.normal(size=(reference.contexts, tokens)) if context_reward else None,
    )
    end_token = int(rng.integers(tokens)) if rng.random() < 0.5 else None
    task = Instance(reference, automaton, horizon, end_token, float(np.exp(rng.uniform(-3, 2))), None, counts)
    if prompts:
        alive = np.flatnonzero(~absorbing)
        task.prompts = [
            (tuple(rng.integers(tokens, size=rng.integers(0, 4)).tolist()), int(rng.choice(alive)))
            for _ in range(int(rng.integers(1, 4)))
        ]
    return task


def written_out(
    task: Instance, state: int, prompt: Text = ()
) -> Iterator[tuple[Text, tuple[float, ...], tuple[float, ...]]]:
    """Every complete text from a prompt and a first state, with log pi0 and the pay of each of its tokens.

    What the end of a text pays comes with its last token.
    """
    waiting: list[tuple[int, Text, tuple[float, ...], tuple[float, ...]]] = [(state, (), (), ())]
    while waiting:
        now, tokens, log_probs, pay = waiting.pop()
        read = (*prompt, *tokens)
        for token in range(task.tokens):
            text, weights = (*tokens, token), (*log_probs, task.log_prob(read, token))
            after = task.transition[now][token]
            paid = task.reward[now][token] + task.own_reward(read, token)
            if token == task.end_token or task.absorbing[after]:
                yield text, weights, (*pay, paid + task.final[after])
            elif len(text) == task.horizon:
                yield text, weights, (*pay, paid + task.at_horizon[after])
            else:
                waiting.append((after, text, weights, (*pay, paid)))


def texts(task: Instance, state: int, prompt: Text = ()) -> Iterator[tuple[Text, float, float]]:
    """Every complete text from a prompt and a first state: (tokens, log pi0, reward)."""
    for text, log_probs, pay in written_out(task, state, prompt):
        yield text, sum(log_probs), sum(pay)


def starts(task: Instance) -> list[tuple[int, float]]:
    """First states and their chances."""
    return [(q, float(p)) for q, p in enumerate(task.automaton.start) if p > 0]


def beginnings(task: Instance) -> list[tuple[Text, int, float]]:
    """Prompt, state and chance of each start."""
    if task.prompts is not None:
        return [(text, state, 1 / len(task.prompts)) for text, state in task.prompts]
    return [((), state, chance) for state, chance in starts(task)]


def enumerate_optimum(task: Instance) -> Numbers:
    """The optimum of an instance, the mean over its starts."""
    total = np.zeros(4)
    for prompt, state, chance in beginnings(task):
        _, weights, rewards = zip(*texts(task, state, prompt))
        total += chance * np.array(summed(weights, rewards, task.kl_coef))
    return Numbers(*total.tolist())


def log_prob_of(task: Instance, policy_rows: PolicyRows, state: int, text: Text, prompt: Text = ()) -> float:
    """log pi(text | prompt, first state) of a policy that is given by its rows."""
    states, contexts = [state], [task.context(prompt)]
    for place, token in enumerate(text[:-1]):
        states.append(task.transition[states[-1]][token])
        contexts.append(task.context((*prompt, *text[: place + 1])))
    rows = policy_rows(np.array(contexts), np.array(states), np.arange(len(text)))
    return float(rows[np.arange(len(text)), text].sum())


def assert_solved(task: Instance, tolerance: float = 1e-10) -> None:
    """The solution is that of the enumerated texts."""
    solution = task.solve()
    for name, value in enumerate_optimum(task)._asdict().items():
        assert getattr(solution, name) == pytest.approx(value, abs=tolerance), (name, task)


def every_lane(solution: Solution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context, state and time of every state that the tables hold."""
    contexts = solution.problem.reference.contexts
    lanes = [
        (context, state, time)
        for time, states in enumerate(solution.problem.reached)
        for context in range(contexts)
        for state in states.tolist()
    ]
    context, state, time = np.array(lanes).T
    return context, state, time
