"""The soft dynamic programme against enumeration of every text, written without it.

The oracles below know nothing of tables or matrix products: they write each text out token by token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klrl_envs.optima.dynamic_programme import Problem, Solution, solve, solve_problem
from klrl_envs.optima.forward import (
    MarkovEvaluation,
    PolicyRows,
    evaluate_markov,
    final_states,
    terminal_law,
)
from klrl_envs.reference.markov import MarkovModel, MarkovReference, UniformReference
from klrl_envs.reference.trigram import TrigramReference
from klrl_envs.reward.automaton import RewardAutomaton

KINDS = ["", "trigram", "context_reward", "prompts", "trigram prompts", "context_reward prompts"]


@dataclass
class Instance:
    """A tiny task: everything that `solve` takes."""

    reference: MarkovModel
    automaton: RewardAutomaton
    horizon: int
    end_token: int | None
    kl_coef: float
    prompts: list[tuple[tuple[int, ...], int]] | None = None

    @property
    def problem(self) -> Problem:
        prompts = None
        if self.prompts is not None:
            contexts = [self.context(text) for text, _ in self.prompts]
            prompts = (np.array(contexts), np.array([state for _, state in self.prompts]))
        return Problem(self.reference, self.automaton, self.horizon, self.end_token, prompts)

    def solve(self) -> Solution:
        return solve_problem(self.problem, self.kl_coef)

    def context(self, text: tuple[int, ...]) -> int:
        context = np.array(self.reference.start_context)
        for token in text:
            context = self.reference.next_context(context, np.array(token))
        return int(context)

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

    def evaluate(self, policy_rows: PolicyRows) -> MarkovEvaluation:
        return evaluate_markov(self.problem, policy_rows, kl_coef=self.kl_coef)

    def log_prob(self, tokens: tuple[int, ...], token: int) -> float:
        if len(self.rows) == 1:
            return -math.log(self.tokens)
        if isinstance(self.reference, TrigramReference):
            return trigram_log_prob(self.reference, tokens, token)
        return self.rows[tokens[-1] if tokens else self.tokens][token]

    def own_reward(self, tokens: tuple[int, ...], token: int) -> float:
        """What the context pays."""
        if self.extra is None:
            return 0.0
        return self.extra[tokens[-1] if tokens and len(self.extra) > 1 else -1][token]


COUNTS: dict[int, dict[tuple[int, int, int], float]] = {}


def trigram_log_prob(reference: TrigramReference, tokens: tuple[int, ...], token: int) -> float:
    """The formula, from the counts that the reference was made of."""
    counts = COUNTS[id(reference)]
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
        rows = rng.normal(scale=3.0 if peaked else 1.0, size=(tokens + 1, tokens))
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        reference = MarkovReference(rows[-1], rows[:-1])
    if trigram:
        assert isinstance(reference, MarkovReference)
        triples = np.argwhere(rng.random((tokens, tokens, tokens)) < rng.random())
        counts = rng.integers(1, 9, size=len(triples)).astype(float)
        reference = TrigramReference(reference, triples, counts, float(rng.uniform(0.1, 3)))
        COUNTS[id(reference)] = {
            (u, v, w): count for (u, v, w), count in zip(triples.tolist(), counts.tolist())
        }
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
    task = Instance(reference, automaton, horizon, end_token, float(np.exp(rng.uniform(-3, 2))))
    if prompts:
        alive = np.flatnonzero(~absorbing)
        task.prompts = [
            (tuple(rng.integers(tokens, size=rng.integers(0, 4)).tolist()), int(rng.choice(alive)))
            for _ in range(int(rng.integers(1, 4)))
        ]
    return task


def texts(
    task: Instance,
    state: int,
    prompt: tuple[int, ...] = (),
    tokens: tuple[int, ...] = (),
    log_prob: float = 0.0,
    paid: float = 0.0,
) -> Iterator[tuple[tuple[int, ...], float, float]]:
    """Every complete text from a prompt and a first state: (tokens, log pi0, reward)."""
    for token in range(task.tokens):
        text = (*tokens, token)
        read = (*prompt, *tokens)
        weight = log_prob + task.log_prob(read, token)
        after = task.transition[state][token]
        reward = paid + task.reward[state][token] + task.own_reward(read, token)
        if token == task.end_token or task.absorbing[after]:
            yield text, weight, reward + task.final[after]
        elif len(text) == task.horizon:
            yield text, weight, reward + task.at_horizon[after]
        else:
            yield from texts(task, after, prompt, text, weight, reward)


def starts(task: Instance) -> list[tuple[int, float]]:
    return [(q, float(p)) for q, p in enumerate(task.automaton.start) if p > 0]


def beginnings(task: Instance) -> list[tuple[tuple[int, ...], int, float]]:
    """Prompt, state and chance of each start."""
    if task.prompts is not None:
        return [(text, state, 1 / len(task.prompts)) for text, state in task.prompts]
    return [((), state, chance) for state, chance in starts(task)]


def enumerate_optimum(task: Instance) -> dict[str, float]:
    result = {"value": 0.0, "reference_value": 0.0, "expected_reward": 0.0, "kl": 0.0}
    for prompt, state, chance in beginnings(task):
        weights, rewards = np.array([(w, r) for _, w, r in texts(task, state, prompt)]).T
        assert math.fsum(np.exp(weights)) == pytest.approx(1.0, abs=1e-12)
        tilted = weights + rewards / task.kl_coef
        top = tilted.max()
        log_z = top + math.log(math.fsum(np.exp(tilted - top)))
        posterior = np.exp(tilted - log_z)
        result["value"] += chance * task.kl_coef * log_z
        result["reference_value"] += chance * math.fsum(np.exp(weights) * rewards)
        result["expected_reward"] += chance * math.fsum(posterior * rewards)
        result["kl"] += chance * math.fsum(posterior * (tilted - log_z - weights))
    return result


def assert_solved(task: Instance, tolerance: float = 1e-10) -> None:
    solution, known = task.solve(), enumerate_optimum(task)
    for name, value in known.items():
        assert getattr(solution, name) == pytest.approx(value, abs=tolerance), (name, task)


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_random_instances_equal_enumeration(block):
    for seed in range(20 * block, 20 * block + 20):
        assert_solved(draw(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_random_instances_of_every_kind_equal_enumeration(kind):
    for seed in range(40):
        task = draw(seed, **dict.fromkeys(kind.split(), True))
        assert_solved(task)
        solution = task.solve()
        evaluated = task.evaluate(solution.log_probs)
        assert evaluated.objective == pytest.approx(solution.value, abs=1e-10)
        assert evaluated.expected_reward == pytest.approx(solution.expected_reward, abs=1e-9)
        reference = task.evaluate(lambda context, state, time, rows=task.reference.rows: rows(context))
        assert reference.objective == pytest.approx(solution.reference_value, abs=1e-10)
        ends = final_states(task.problem, solution)
        np.testing.assert_allclose(ends, evaluated.final_states, atol=1e-10)
        np.testing.assert_allclose(final_states(task.problem), reference.final_states, atol=1e-12)
        for start, (prompt, state, _) in enumerate(beginnings(task)):
            alone = np.array([w + r / task.kl_coef for _, w, r in texts(task, state, prompt)])
            known = task.kl_coef * np.logaddexp.reduce(alone)
            assert solution.start_values[start] == pytest.approx(known, abs=1e-10)


@pytest.mark.parametrize("kind", ["trigram", "context_reward"])
def test_a_tiny_coefficient_loses_nothing_of_any_kind(kind):
    for seed in range(40):
        task = draw(seed, peaked=True, **{kind: True})
        task.kl_coef = 1e-3
        assert_solved(task)
        solution = task.solve()
        ends = final_states(task.problem, solution)
        np.testing.assert_allclose(ends, task.evaluate(solution.log_probs).final_states, atol=1e-9)


def test_a_trigram_knows_its_rows_its_arcs_and_its_transpose():
    for seed in range(20):
        reference = draw(seed, trigram=True).reference
        rng = np.random.default_rng(seed)
        contexts = np.arange(reference.contexts)
        rows = np.exp(reference.rows(contexts))
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
        assert np.log(rows.min()) >= reference.least - 1e-12
        every = np.broadcast_to(np.arange(reference.vocab_size), rows.shape)
        found = reference.log_prob(np.broadcast_to(contexts[:, None], rows.shape), every)
        np.testing.assert_allclose(np.exp(found), rows, rtol=1e-12)
        values = rng.normal(size=(len(reference.arc_tokens), 3))
        known = np.einsum("cv,cvq->cq", rows, values[reference.arcs(contexts)])
        np.testing.assert_allclose(reference.mean(values), known, atol=1e-12)
        mass = rng.random((reference.contexts, 3))
        assert np.sum(mass * known) == pytest.approx(np.sum(reference.push(mass) * values), abs=1e-10)
        tokens = rng.integers(reference.vocab_size, size=(4, 5))
        lengths = np.array([0, 2, 5, 3])
        whole = reference.sequence_log_probs(tokens, np.zeros(4, dtype=np.int64), lengths)
        lanes = reference.lanes(4, 5)
        lanes.reset(np.arange(4), tokens[:, :0], np.zeros(4, dtype=np.int64))
        for place in range(5):
            seen = lanes.log_prob(tokens[:, place])
            np.testing.assert_allclose(whole[:, place], np.where(place < lengths, seen, 0.0), atol=1e-12)
            lanes.step(tokens[:, place], place < lengths)


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


def walk(
    task: Instance, solution: Solution, state: int, text: tuple[int, ...], prompt: tuple[int, ...] = ()
) -> float:
    """log pi*(text | prompt, first state) by the solution's own rows."""
    states, contexts = [state], [task.context(prompt)]
    for place, token in enumerate(text[:-1]):
        states.append(task.transition[states[-1]][token])
        contexts.append(task.context((*prompt, *text[: place + 1])))
    rows = solution.log_probs(np.array(contexts), states, np.arange(len(text)))
    return float(rows[np.arange(len(text)), text].sum())


def test_the_policy_is_the_tilted_reference():
    for seed in range(20):
        task = draw(seed)
        solution = task.solve()
        for state, _ in starts(task):
            everything = list(texts(task, state))
            tilted = np.array([w + r / task.kl_coef for _, w, r in everything])
            tilted -= np.logaddexp.reduce(tilted)
            found = [walk(task, solution, state, text) for text, _, _ in everything]
            np.testing.assert_allclose(found, tilted, atol=1e-10)


def assert_identity(task: Instance, seed: int, sharpness: float) -> None:
    """J(pi) = J* - kl_coef KL(pi || pi*) of a policy that remembers text, prompt and first state."""
    solution = task.solve()
    rng = np.random.default_rng(seed)
    rows: dict[tuple[int, ...], np.ndarray] = {}

    def log_policy(start: int, text: tuple[int, ...]) -> float:
        total = 0.0
        for length, token in enumerate(text):
            prefix = (start, *text[:length])
            if prefix not in rows:
                logits = rng.normal(scale=sharpness, size=task.automaton.vocab_size)
                rows[prefix] = logits - np.logaddexp.reduce(logits)
            total += float(rows[prefix][token])
        return total

    objective = regret = 0.0
    for start, (prompt, state, chance) in enumerate(beginnings(task)):
        for text, weight, reward in texts(task, state, prompt):
            log_pi = log_policy(start, text)
            objective += chance * math.exp(log_pi) * (reward - task.kl_coef * (log_pi - weight))
            regret += chance * math.exp(log_pi) * (log_pi - walk(task, solution, state, text, prompt))
    assert regret >= -1e-12
    assert objective == pytest.approx(solution.value - task.kl_coef * regret, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 5.0]), st.sampled_from(KINDS))
def test_regret_is_the_divergence_from_the_optimum(seed, policy_seed, sharpness, kind):
    task = draw(seed, **dict.fromkeys(kind.split(), True))
    task.horizon = min(task.horizon, 3)
    assert_identity(task, policy_seed, sharpness)


def soft_bellman(task: Instance, tokens: tuple[int, ...], state: int) -> tuple[float, float, float, float]:
    """(V, E*[r], KL*, E_0[r]) to go of a history, luck averaged inside the soft maximum."""
    choices = []
    for token in range(task.tokens):
        outcome = [0.0, 0.0, 0.0, 0.0]
        for executed, chance in enumerate(task.execution[token]):
            after = task.transition[state][executed]
            now = task.reward[state][executed]
            later = (0.0, 0.0, 0.0, 0.0)
            if token == task.end_token or task.absorbing[after]:
                now += task.final[after]
            elif len(tokens) + 1 == task.horizon:
                now += task.at_horizon[after]
            else:
                later = soft_bellman(task, (*tokens, token), after)
            for place, value in enumerate((now + later[0], now + later[1], later[2], now + later[3])):
                outcome[place] += chance * value
        choices.append((task.log_prob(tokens, token), *outcome))
    weight, soft, reward, kl, linear = np.array(choices).T
    tilted = weight + soft / task.kl_coef
    log_z = float(np.logaddexp.reduce(tilted))
    log_policy = tilted - log_z
    policy, reference = np.exp(log_policy), np.exp(weight)
    return (
        task.kl_coef * log_z,
        float(policy @ reward),
        float(policy @ (log_policy - weight + kl)),
        float(reference @ linear),
    )


def test_stochastic_execution_equals_the_soft_bellman_tree():
    for seed in range(40):
        task = draw(seed, execution=True)
        solution = task.solve()
        known = np.zeros(4)
        for state, chance in starts(task):
            known += chance * np.array(soft_bellman(task, (), state))
        found = (solution.value, solution.expected_reward, solution.kl, solution.reference_value)
        np.testing.assert_allclose(found, known, atol=1e-10, err_msg=str(task))


def test_execution_of_the_chosen_token_is_no_execution():
    for seed in range(20):
        task = draw(seed)
        sure = RewardAutomaton(
            task.automaton.transition,
            task.automaton.reward,
            task.automaton.final_reward,
            task.automaton.start,
            absorbing=task.automaton.absorbing,
            horizon_reward=task.automaton.horizon_reward,
            execution=np.eye(task.automaton.vocab_size),
        )
        plain = task.solve()
        other = Instance(task.reference, sure, task.horizon, task.end_token, task.kl_coef).solve()
        lanes = every_lane(plain)
        np.testing.assert_allclose(other.values(*lanes), plain.values(*lanes), atol=1e-12)
        np.testing.assert_allclose(other.log_probs(*lanes), plain.log_probs(*lanes), atol=1e-12)


@pytest.mark.parametrize("execution", [False, True])
def test_rows_agree_with_values(execution):
    """The soft Bellman equation of every state, from rows and values alone."""
    for seed in range(20):
        task = draw(seed, execution=execution)
        solution = task.solve()
        context, state, time = every_lane(solution)
        rows = solution.log_probs(context, state, time)
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-12)
        tilt = task.kl_coef * (rows - task.reference.rows(context))
        for lane in range(0, time.size, 7):
            now = int(time[lane])
            later = solution.tables[now + 1] if now + 1 < task.horizon else None
            place = int(np.flatnonzero(solution.problem.reached[now] == state[lane])[0])
            known = solution.problem.to_go(later, now)[:, place] - solution.tables[now][context[lane], place]
            np.testing.assert_allclose(tilt[lane], known, atol=1e-9)


def test_values_end_with_the_episode():
    task = draw(3)
    solution = task.solve()
    assert solution.values(0, 0, task.horizon).tolist() == [0.0]
    first = np.flatnonzero(task.automaton.start)
    at_start = solution.values(np.full_like(first, task.reference.start_context), first, np.zeros_like(first))
    assert float(task.automaton.start[first] @ at_start) == pytest.approx(solution.value, abs=1e-14)
    ended = np.flatnonzero(task.automaton.absorbing)
    assert not solution.values(np.zeros_like(ended), ended, np.zeros_like(ended)).any()


@pytest.mark.parametrize("execution", [False, True])
def test_exact_evaluation_of_the_optimum_the_reference_and_others(execution):
    for seed in range(15):
        task = draw(seed, execution=execution)
        solution = task.solve()
        best = task.evaluate(solution.log_probs)
        assert best.objective == pytest.approx(solution.value, abs=1e-10)
        assert best.expected_reward == pytest.approx(solution.expected_reward, abs=1e-10)
        assert best.kl == pytest.approx(solution.kl, abs=1e-10)
        reference = task.evaluate(lambda c, q, t, rows=task.reference.rows: rows(c))
        assert reference.kl == pytest.approx(0.0, abs=1e-14)
        assert reference.objective == pytest.approx(solution.reference_value, abs=1e-10)
        table = np.random.default_rng(seed).normal(
            size=(task.horizon, task.reference.contexts, task.automaton.states, task.automaton.vocab_size)
        )
        table -= np.logaddexp.reduce(table, axis=-1, keepdims=True)
        other = task.evaluate(lambda c, q, t, table=table: table[t, c, q])
        assert other.objective <= solution.value + 1e-12
        if not execution:
            known = sum(
                chance * math.exp(log_pi) * (reward - task.kl_coef * (log_pi - weight))
                for state, chance in starts(task)
                for text, weight, reward in texts(task, state)
                for log_pi in [policy_log_prob(task, table, state, text)]
            )
            assert other.objective == pytest.approx(known, abs=1e-10)


def policy_log_prob(task: Instance, table: np.ndarray, state: int, text: tuple[int, ...]) -> float:
    total, context = 0.0, task.reference.start_context
    for time, token in enumerate(text):
        total += float(table[time, context, state, token])
        state = task.transition[state][token]
        context = 0 if task.reference.contexts == 1 else token
    return total


def test_the_law_of_a_terminal_reward_gives_every_optimum():
    for seed in range(30):
        task = draw(seed, terminal=True, prompts=seed % 2 == 1, trigram=seed % 3 == 1)
        law = terminal_law(task.problem)
        np.testing.assert_allclose(law.probabilities.sum(axis=1), 1.0, atol=1e-12)
        for kl_coef in (0.05, 1.0, 20.0):
            task.kl_coef = kl_coef
            known = enumerate_optimum(task)
            np.testing.assert_allclose(
                law.optimum(kl_coef), [known[k] for k in ("value", "expected_reward", "kl")], atol=1e-10
            )
        assert law.reference_value == pytest.approx(known["reference_value"], abs=1e-12)


def test_the_law_refuses_what_it_does_not_determine():
    slippery = draw(1, execution=True, terminal=True)
    with pytest.raises(ValueError, match="without stochastic execution"):
        terminal_law(Problem(slippery.reference, slippery.automaton, 2, None))
    paying = RewardAutomaton([[0, 0]], reward=[[1.0, 0.0]])
    with pytest.raises(ValueError, match="without rewards before the end"):
        terminal_law(Problem(UniformReference(2), paying, 2, None))


def test_a_tiny_coefficient_neither_overflows_nor_loses_the_optimum():
    for seed in range(60):
        task = draw(seed, peaked=True)
        task.kl_coef = 1e-3
        assert_solved(task)
    huge = RewardAutomaton([[0, 1], [1, 1]], final_reward=[0, 1e4])
    solution = solve(UniformReference(2), huge, horizon=3, end_token=None, kl_coef=1e-3)
    assert solution.value == pytest.approx(1e4 + 1e-3 * math.log(7 / 8), abs=1e-9)
    assert all(np.isfinite(table).all() for table in solution.tables)


def test_a_tiny_coefficient_approaches_the_best_text():
    for seed in range(20):
        task = draw(seed)
        best = sum(p * max(r for _, _, r in texts(task, q)) for q, p in starts(task))
        task.kl_coef = 1e-6
        assert task.solve().value == pytest.approx(best, abs=1e-4)


def test_a_huge_coefficient_approaches_the_reference_to_second_order():
    """J* = E_0 r + Var_0 r / (2 beta) + O(1/beta^2), and nothing cancels."""
    for seed in range(30):
        task = draw(seed)
        task.kl_coef = 1e7
        mean = variance = 0.0
        for state, chance in starts(task):
            weights, rewards = np.array([(w, r) for _, w, r in texts(task, state)]).T
            first = math.fsum(np.exp(weights) * rewards)
            mean += chance * first
            variance += chance * math.fsum(np.exp(weights) * (rewards - first) ** 2)
        solution = task.solve()
        assert solution.value == pytest.approx(mean, abs=1e-6)
        assert solution.value - mean == pytest.approx(variance / 2e7, abs=1e-12)
        assert 0 <= solution.kl < 1e-10


def test_rare_tokens_go_through_log_sum_exp():
    """A token of probability exp(-2000) decides the reward; its exponential alone underflows."""
    sure = math.log(-math.expm1(-2000.0))
    reference = MarkovReference([sure, -2000.0], [[sure, -2000.0], [sure, -2000.0]])
    machine = RewardAutomaton([[0, 1], [1, 1]], final_reward=[0.0, 30.0])
    for kl_coef in (1e-3, 0.01, 0.015, 1.0):
        task = Instance(reference, machine, 3, None, kl_coef)
        known = enumerate_optimum(task)
        solution = task.solve()
        assert solution.value == pytest.approx(known["value"], abs=1e-10)
        assert solution.expected_reward == pytest.approx(known["expected_reward"], abs=1e-8)


def test_the_block_size_of_slow_paths_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(scale=300.0, size=(5, 4))
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    machine = RewardAutomaton(
        rng.integers(3, size=(3, 4)), rng.normal(size=(3, 4)), execution=rng.dirichlet(np.ones(4), size=4)
    )
    task = Instance(MarkovReference(rows[-1], rows[:-1]), machine, 4, 1, 0.5)
    whole = task.solve()
    lanes = every_lane(whole)
    known = (whole.values(*lanes), whole.expected_reward, whole.log_probs(*lanes))
    monkeypatch.setattr("klrl_envs.optima.dynamic_programme.BLOCK", 1)
    again = task.solve()
    np.testing.assert_allclose(again.values(*lanes), known[0], rtol=1e-13)
    assert again.expected_reward == pytest.approx(known[1], rel=1e-13)
    np.testing.assert_allclose(again.log_probs(*lanes), known[2], rtol=1e-12)


TASK = {"horizon": 2, "end_token": None, "kl_coef": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1 token, got 0"),
        ({"end_token": 2}, "end_token must be None or 0 to 1, got 2"),
        ({"end_token": -1}, "end_token must be None or 0 to 1, got -1"),
        ({"kl_coef": 0.0}, "kl_coef must be a finite number above 0, got 0.0"),
        ({"kl_coef": -1.0}, "kl_coef must be a finite number above 0, got -1.0"),
        ({"kl_coef": float("nan")}, "kl_coef must be a finite number above 0, got nan"),
        ({"reference": UniformReference(3)}, "the automaton reads 2 tokens, the reference writes 3"),
    ],
)
def test_solve_names_what_is_wrong(change, message):
    arguments = {"reference": UniformReference(2), "automaton": RewardAutomaton([[0, 0]]), **TASK, **change}
    with pytest.raises(ValueError, match=message):
        solve(**arguments)


def test_questions_out_of_range_are_refused():
    solution = solve(UniformReference(2), RewardAutomaton([[0, 0]]), **TASK)
    with pytest.raises(ValueError, match="time must be 0 to 1, got 2"):
        solution.log_probs(0, 0, 2)
    with pytest.raises(ValueError, match="state must be 0 to 0, got -1"):
        solution.values(0, -1, 0)
    with pytest.raises(ValueError, match="context must be 0 to 0, got 1"):
        solution.values(1, 0, 0)


def test_policy_rows_are_checked():
    problem = Problem(UniformReference(2), RewardAutomaton([[0, 0]]), 2, None)
    with pytest.raises(ValueError, match="a row sums to 2"):
        evaluate_markov(problem, lambda c, q, t: np.zeros((c.size, 2)), kl_coef=1.0)
    with pytest.raises(ValueError, match=r"must return shape \(1, 2\), returned \(1, 3\)"):
        evaluate_markov(problem, lambda c, q, t: np.zeros((c.size, 3)), kl_coef=1.0)


def test_an_optimum_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("klrl_envs.optima.dynamic_programme.MOST_NUMBERS", 0)
    with pytest.raises(ValueError, match="take a bigram, a shorter horizon or fewer states"):
        draw(3).solve()
