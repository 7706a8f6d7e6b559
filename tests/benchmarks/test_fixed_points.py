"""The fixed points of training signals, against the signals themselves.

A tiny task is written out: every text, with the history before each of its tokens. The policy has free
logits at every history, the expected update of a signal is spelled out from its definition and
differentiated, and it must vanish at the policy that ``benchmarks.studies.fixed_points`` names. Nothing here knows of
backward passes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.studies import fixed_points, pitfalls
from benchmarks.studies.fixed_points import TablePolicy, backward
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reward.automaton import RewardAutomaton

DISCOUNT = 0.9
SEEDS = range(12)
Numbers = np.ndarray


def draw(seed: int, *, terminal: bool = False) -> tuple[Problem, float]:
    """A random task of at most a few dozen texts and its kl_coef; rewards at the end come in few levels."""
    rng = np.random.default_rng(seed)
    tokens, states, horizon = int(rng.integers(2, 4)), int(rng.integers(2, 5)), int(rng.integers(2, 4))
    rows = rng.normal(size=(tokens + 1, tokens))
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    absorbing = (rng.random(states) < 0.25) & (np.arange(states) > 0)
    start = rng.dirichlet(np.ones(states)) * ~absorbing if seed % 2 else np.eye(states)[0]
    automaton = RewardAutomaton(
        rng.integers(states, size=(states, tokens)),
        None if terminal else rng.normal(size=(states, tokens)),
        rng.integers(4, size=states) / 3,
        start / start.sum(),
        absorbing=absorbing,
        horizon_reward=rng.integers(4, size=states) / 3,
    )
    end_token = int(rng.integers(tokens)) if seed % 3 else None
    problem = Problem(MarkovReference(rows[-1], rows[:-1]), automaton, horizon, end_token)
    return problem, float(np.exp(rng.uniform(-1.5, 0.5)))


@dataclass
class Texts:
    """Every text of a task: N of them, T tokens long at most, after H histories.

    Attributes:
        history: int64 [N, T], the number of the history before each token; 0 behind the end.
        token: int64 [N, T]; 0 behind the end.
        written: bool [N, T].
        paid: float64 [N, T], the reward of each token.
        reference: float64 [N, T], log pi0 of each token.
        start: int64 [N], the start that a text grew from.
        chance: float64 [N], the probability of that start.
        contexts, states, times: int64 [H], of each history.
    """

    history: Numbers
    token: Numbers
    written: Numbers
    paid: Numbers
    reference: Numbers
    start: Numbers
    chance: Numbers
    contexts: Numbers
    states: Numbers
    times: Numbers

    @property
    def reward(self) -> Numbers:
        return self.paid.sum(axis=1)

    @property
    def log_reference(self) -> Numbers:
        return self.reference.sum(axis=1)


def written_out(problem: Problem) -> Texts:
    """Every text, token by token."""
    automaton, table, horizon = problem.automaton, problem.reference.rows, problem.horizon
    pi0 = table(np.arange(problem.reference.contexts))
    histories: list[tuple[int, int, int]] = []
    found: list[tuple[int, float, list[tuple[int, int, float, float]]]] = []

    def write(
        start: int,
        chance: float,
        context: int,
        state: int,
        steps: list[tuple[int, int, float, float]],
    ) -> None:
        number = len(histories)
        histories.append((context, state, len(steps)))
        for token in range(automaton.vocab_size):
            after = int(automaton.transition[state, token])
            paid = float(automaton.reward[state, token])
            over = token == problem.end_token or bool(automaton.absorbing[after])
            last = len(steps) + 1 == horizon
            if over:
                paid += float(automaton.final_reward[after])
            elif last:
                paid += float(automaton.horizon_reward[after])
            longer = [*steps, (number, token, paid, float(pi0[context, token]))]
            if over or last:
                found.append((start, chance, longer))
            else:
                write(start, chance, token, after, longer)

    for start, (context, state, chance) in enumerate(zip(*problem.starts, strict=True)):
        write(start, float(chance), int(context), int(state), [])
    shape = (len(found), horizon)
    history, token = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    written, paid, reference = np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(shape)
    for row, (_, _, steps) in enumerate(found):
        columns = (history, token, paid, reference)
        for place, step in enumerate(steps):
            written[row, place] = True
            for column, value in zip(columns, step, strict=True):
                column[row, place] = value
    contexts, states, times = np.array(histories).T
    starts, chances = np.array([one for one, _, _ in found]), np.array([chance for _, chance, _ in found])
    return Texts(history, token, written, paid, reference, starts, chances, contexts, states, times)


class Signal:
    """The expectations that signals are made of, at a policy given by its rows at every history."""

    def __init__(self, texts: Texts, rows: Numbers, problem: Problem, kl_coef: float) -> None:
        """Rows are float64 [H, V], log pi."""
        self.texts, self.kl_coef = texts, kl_coef
        self.logits = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
        self.rows = self.logits.log_softmax(dim=1)
        self.reference_rows = torch.from_numpy(problem.reference.rows(texts.contexts).copy())
        self.history, self.written = torch.from_numpy(texts.history), torch.from_numpy(texts.written)
        self.paid, self.reference = torch.from_numpy(texts.paid), torch.from_numpy(texts.reference)
        taken = self.rows[self.history, torch.from_numpy(texts.token)]
        self.log_probs = torch.where(self.written, taken, 0.0)
        self.ratio = self.log_probs - self.reference  # l_t, 0 behind the end
        self.chance = torch.from_numpy(texts.chance) * self.log_probs.detach().sum(dim=1).exp()

    def to_go(self, paid: torch.Tensor, discount: float = 1.0) -> torch.Tensor:
        """What a text is still paid, at each of its tokens; detached."""
        total, columns = torch.zeros(len(paid), dtype=torch.float64), []
        for column in reversed(paid.detach().unbind(dim=1)):
            total = column + discount * total
            columns.append(total)
        return torch.stack(columns[::-1], dim=1)

    def score(self, advantage: torch.Tensor) -> torch.Tensor:
        """Of which the gradient is E S_t g_t advantage_t."""
        return self.mean((self.log_probs * advantage).sum(dim=1))

    def mean(self, quantity: torch.Tensor) -> torch.Tensor:
        """Mean over texts, which are drawn and not differentiated."""
        return (self.chance * quantity).sum()

    def visited(self, quantity: torch.Tensor) -> torch.Tensor:
        """E S_t of a quantity [H] of the histories, as they are visited."""
        return self.mean(torch.where(self.written, quantity[self.history], 0.0).sum(dim=1))

    @property
    def kl(self) -> torch.Tensor:
        """KL(pi || pi0) [H] at each history."""
        return (self.rows.exp() * (self.rows - self.reference_rows)).sum(dim=1)

    def gradient(self, objective: torch.Tensor) -> Numbers:
        """The update [H, V] of a visit: the gradient over the chance that a history occurs."""
        (found,) = torch.autograd.grad(objective, self.logits, retain_graph=True)
        occurs = torch.zeros(len(self.logits), dtype=torch.float64)
        occurs.index_put_((self.history[self.written],), self.spread, accumulate=True)
        return (found / occurs[:, None]).numpy()

    @property
    def spread(self) -> torch.Tensor:
        """The chance of each token's text."""
        return self.chance[:, None].expand_as(self.written)[self.written]


def k3(ratio: torch.Tensor) -> torch.Tensor:
    """pi0 / pi - 1 - log(pi0 / pi), of log(pi / pi0)."""
    return torch.exp(-ratio) - 1 + ratio


def k1_in_the_reward(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid - signal.kl_coef * signal.ratio))


def sequence_k2_in_the_loss(signal: Signal) -> torch.Tensor:
    k2 = signal.ratio.sum(dim=1) ** 2 / 2
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k2)


def exact_kl_and_its_gradient(signal: Signal) -> torch.Tensor:
    kl = torch.where(signal.written, signal.kl[signal.history], 0.0)
    paid = signal.paid - signal.kl_coef * kl
    return signal.score(signal.to_go(paid)) - signal.kl_coef * signal.visited(signal.kl)


def discounted(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid - signal.kl_coef * signal.ratio, DISCOUNT))


def entropy_of_the_visited_state(signal: Signal) -> torch.Tensor:
    entropy = -(signal.rows.exp() * signal.rows).sum(dim=1)
    paid = signal.paid + signal.kl_coef * signal.reference
    return signal.score(signal.to_go(paid)) + signal.kl_coef * signal.visited(entropy)


def kl_of_the_visited_state(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.visited(signal.kl)


def token_k2_in_the_loss(signal: Signal) -> torch.Tensor:
    k2 = (signal.ratio**2 / 2).sum(dim=1)
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k2)


def token_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    # behind the end log(pi / pi0) is 0, and so is k3
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k3(signal.ratio).sum(dim=1))


def sequence_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k3(signal.ratio.sum(dim=1)))


def k3_in_the_reward(signal: Signal) -> torch.Tensor:
    whole = signal.paid.sum(dim=1) - signal.kl_coef * k3(signal.ratio.sum(dim=1))
    return signal.score(whole.detach()[:, None].expand_as(signal.log_probs))


def group_normalised(signal: Signal) -> torch.Tensor:
    reward, starts = signal.paid.sum(dim=1), torch.from_numpy(signal.texts.start)
    deviation = torch.zeros_like(reward)
    for start in starts.unique():
        mine = starts == start
        law = signal.chance[mine] / signal.chance[mine].sum()
        mean = (law * reward[mine]).sum()
        deviation[mine] = (law * (reward[mine] - mean) ** 2).sum().sqrt().clamp(min=1e-9)
    paid = signal.paid / deviation[:, None]
    return signal.score(signal.to_go(paid - signal.kl_coef * signal.ratio))


Update = Callable[[float], fixed_points.Update]
STATE_BY_STATE: dict[str, tuple[Callable[[Signal], torch.Tensor], Update, float]] = {
    "k1 in the reward": (k1_in_the_reward, fixed_points.objective_itself, 1.0),
    "sequence k2": (sequence_k2_in_the_loss, fixed_points.objective_itself, 1.0),
    "exact KL": (exact_kl_and_its_gradient, fixed_points.objective_itself, 1.0),
    "discount": (discounted, fixed_points.objective_itself, DISCOUNT),
    "entropy bonus": (entropy_of_the_visited_state, fixed_points.entropy_bonus, 1.0),
    "local KL": (kl_of_the_visited_state, fixed_points.local_kl, 1.0),
    "token k2": (token_k2_in_the_loss, fixed_points.local_kl, 1.0),
    "token k3": (token_k3_in_the_loss, fixed_points.local_forward_kl, 1.0),
}


@pytest.mark.parametrize("name", STATE_BY_STATE)
@pytest.mark.parametrize("terminal", [False, True])
def test_the_update_vanishes_at_the_fixed_point_and_nowhere_near(name: str, terminal: bool) -> None:
    signal_of, update, discount = STATE_BY_STATE[name]
    for seed in SEEDS:
        problem, kl_coef = draw(seed, terminal=terminal)
        texts = written_out(problem)
        policy: TablePolicy = backward(problem, update(kl_coef), discount=discount)
        rows = policy.state_log_probs(texts.contexts, texts.states, texts.times)
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-12)
        signal = Signal(texts, rows, problem, kl_coef)
        np.testing.assert_allclose(signal.gradient(signal_of(signal)), 0.0, atol=1e-9)
        aside = rows + np.random.default_rng(seed).normal(scale=0.1, size=rows.shape)
        near = Signal(texts, aside, problem, kl_coef)
        assert np.abs(near.gradient(signal_of(near))).max() > 1e-4


@pytest.mark.parametrize(
    ("one", "other"),
    [(k1_in_the_reward, sequence_k2_in_the_loss), (k1_in_the_reward, exact_kl_and_its_gradient),
     (kl_of_the_visited_state, token_k2_in_the_loss)],
)  # fmt: skip
def test_signals_that_are_said_to_be_the_same_have_the_same_update_everywhere(
    one: Callable[[Signal], torch.Tensor], other: Callable[[Signal], torch.Tensor]
) -> None:
    for seed in SEEDS:
        problem, kl_coef = draw(seed)
        texts = written_out(problem)
        rows = np.random.default_rng(seed).normal(size=(len(texts.times), problem.automaton.vocab_size))
        signal = Signal(texts, rows, problem, kl_coef)
        np.testing.assert_allclose(signal.gradient(one(signal)), signal.gradient(other(signal)), atol=1e-10)


def level_of(law: TerminalLaw, texts: Texts) -> Numbers:
    """int64 [N], where the reward of each text stands among the levels."""
    return np.abs(texts.reward[:, None] - law.rewards).argmin(axis=1)


def text_law(law: TerminalLaw, texts: Texts, tilted: Numbers) -> Numbers:
    """pi(x | start) = pi0(x | start) q(r) / p(r), float64 [N]."""
    level = level_of(law, texts)
    return np.exp(texts.log_reference) * tilted[texts.start, level] / law.probabilities[texts.start, level]


def rows_of(texts: Texts, chances: Numbers, tokens: int) -> Numbers:
    """log pi [H, V] at every history of the law of texts, given each start."""
    joint = np.zeros((len(texts.times), tokens))
    row, place = np.nonzero(texts.written)
    np.add.at(joint, (texts.history[row, place], texts.token[row, place]), chances[row])
    return np.log(joint) - np.log(joint.sum(axis=1, keepdims=True))


def test_the_law_of_the_reward_is_that_of_the_texts() -> None:
    for seed in SEEDS:
        problem, _ = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        summed = np.zeros_like(law.probabilities)
        np.add.at(summed, (texts.start, level_of(law, texts)), np.exp(texts.log_reference))
        np.testing.assert_allclose(summed, law.probabilities, atol=1e-12)


def test_the_tilted_law_is_that_of_the_optimum() -> None:
    for seed in SEEDS:
        problem, kl_coef = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        tilted = fixed_points.tilt(law, np.full(len(law.start), kl_coef))
        chances = text_law(law, texts, tilted)
        known = np.exp(texts.log_reference + texts.reward / kl_coef)
        for start in range(len(law.start)):
            mine = texts.start == start
            np.testing.assert_allclose(chances[mine], known[mine] / known[mine].sum(), atol=1e-12)
        value, reward, kl = law.optimum(kl_coef)
        point = fixed_points.of_law(law, tilted, kl_coef)
        assert (point.objective, point.expected_reward, point.kl) == pytest.approx((value, reward, kl))
        paid = float((texts.chance * chances) @ texts.reward)
        nats = float((texts.chance * chances) @ (np.log(chances) - texts.log_reference))
        assert (point.expected_reward, point.kl) == pytest.approx((paid, nats), abs=1e-12)


def test_sequence_k3_in_the_loss_ends_where_it_is_said_to() -> None:
    for seed in SEEDS:
        problem, kl_coef = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        tilted = fixed_points.sequence_forward_kl(law, kl_coef)
        np.testing.assert_allclose(tilted.sum(axis=1), 1.0, atol=1e-12)
        rows = rows_of(texts, text_law(law, texts, tilted), problem.automaton.vocab_size)
        signal = Signal(texts, rows, problem, kl_coef)
        np.testing.assert_allclose(signal.gradient(sequence_k3_in_the_loss(signal)), 0.0, atol=1e-9)


def test_rewards_that_a_prompt_cannot_earn_do_not_matter() -> None:
    law = TerminalLaw(
        np.full(2, 0.5), np.array([0.0, 0.5, 10.0]), np.array([[0.4, 0.6, 0.0], [0.3, 0.3, 0.4]])
    )
    alone = TerminalLaw(np.ones(1), law.rewards[:2], law.probabilities[:1, :2])
    for end in (fixed_points.sequence_forward_kl, fixed_points.group_normalised):
        both = end(law, 0.2)
        np.testing.assert_allclose(both[0, :2], end(alone, 0.2)[0], atol=1e-12)
        assert both[0, 2] == 0.0


def test_a_prompt_without_stakes_stays_at_the_reference() -> None:
    law = TerminalLaw(np.full(2, 0.5), np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    np.testing.assert_allclose(fixed_points.group_normalised(law, 1.0)[0], [1.0, 0.0])


def spreads(law: TerminalLaw, start: int, coefficients: Numbers) -> Numbers:
    """sd(r) of one start's law, tilted at each of the coefficients."""
    one = TerminalLaw(np.ones(1), law.rewards, law.probabilities[[start]])
    return np.array(
        [np.sqrt(fixed_points.variance(one, fixed_points.tilt(one, np.array([c]))))[0] for c in coefficients]
    )


def flow_from_the_reference(law: TerminalLaw, kl_coef: float) -> Numbers:
    """The law after many natural gradient steps on rewards over their standard deviation."""
    held = law.probabilities > 0
    log_weight = np.zeros_like(law.probabilities)
    for _ in range(1_500):
        flow = law.probabilities * np.exp(log_weight)
        flow /= flow.sum(axis=1, keepdims=True)
        deviation = np.maximum(np.sqrt(fixed_points.variance(law, flow)), 1e-3)[:, None]
        log_weight += 0.02 * (law.rewards / deviation / kl_coef - log_weight)
        log_weight -= np.where(held, log_weight, -np.inf).max(axis=1, keepdims=True)
        log_weight[~held] = 0.0
    return flow


def test_group_normalised_rewards_end_where_the_flow_from_the_reference_does() -> None:
    inner = collapsed = 0
    for seed in range(16):
        problem, kl_coef = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        rng = np.random.default_rng(seed)
        kl_coef *= float(rng.uniform(0.5, 4))
        tilted = fixed_points.group_normalised(law, kl_coef)
        spread = np.sqrt(fixed_points.variance(law, tilted))
        at_reference = np.sqrt(fixed_points.variance(law, law.probabilities))
        within = spread > 1e-6
        for start in np.flatnonzero(~within & (at_reference > 0)):
            # no coefficient is beta times the sd that it gives: all are above it
            grid = np.geomspace(1e-3, 1e3, 400)
            assert (kl_coef * spreads(law, int(start), grid) < grid).all()
            collapsed += 1
        if within.any():
            law_of_texts = text_law(law, texts, np.where(within[:, None], tilted, law.probabilities))
            rows = rows_of(texts, law_of_texts, problem.automaton.vocab_size)
            signal = Signal(texts, rows, problem, kl_coef)
            inside = np.unique(texts.history[texts.written & within[texts.start][:, None]])
            np.testing.assert_allclose(signal.gradient(group_normalised(signal))[inside], 0.0, atol=1e-8)
            inner += int(within.sum())
        np.testing.assert_allclose(flow_from_the_reference(law, kl_coef)[within], tilted[within], atol=1e-5)
    assert inner >= 5 and collapsed >= 5


def test_k3_in_the_reward_descends_one_divergence_and_ascends_the_other() -> None:
    for seed in SEEDS:
        problem, kl_coef = draw(seed)
        texts = written_out(problem)
        rows = np.random.default_rng(seed).normal(size=(len(texts.times), problem.automaton.vocab_size))
        signal = Signal(texts, rows, problem, kl_coef)
        log_prob, ratio = signal.log_probs.sum(dim=1), signal.ratio.sum(dim=1)
        backward_kl = (torch.from_numpy(texts.chance) * log_prob.exp() * ratio).sum()
        forward_kl = -(torch.from_numpy(texts.chance * np.exp(texts.log_reference)) * ratio).sum()
        known = signal.score(signal.to_go(signal.paid)) - kl_coef * (backward_kl - forward_kl)
        np.testing.assert_allclose(
            signal.gradient(k3_in_the_reward(signal)), signal.gradient(known), atol=1e-9
        )


def test_a_step_with_k3_in_the_reward_is_the_natural_policy_gradient() -> None:
    """The gradient is the Fisher matrix times the step: E [grad log pi(x) d log pi(x)]."""
    for seed in SEEDS:
        problem, kl_coef = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        laws = fixed_points.k3_in_the_reward(law, kl_coef, steps=5, rate=0.02)
        for before, after in itertools.pairwise(laws):
            np.testing.assert_allclose(after.sum(axis=1), 1.0, atol=1e-12)
            chances = text_law(law, texts, before)
            rows = rows_of(texts, chances, problem.automaton.vocab_size)
            signal = Signal(texts, rows, problem, kl_coef)
            step = torch.from_numpy(np.log(text_law(law, texts, after) / chances) / 0.02)
            known = signal.gradient(signal.score(step[:, None].expand_as(signal.log_probs)))
            np.testing.assert_allclose(signal.gradient(k3_in_the_reward(signal)), known, atol=1e-8)


def test_k3_in_the_reward_parts_texts_that_are_all_but_alike() -> None:
    law = TerminalLaw(np.ones(1), np.array([0.0, 1e-6, 1.0]), np.array([[0.45, 0.45, 0.1]]))
    *_, last = fixed_points.k3_in_the_reward(law, 2.0, steps=20_000, rate=0.01)
    weights = last / law.probabilities
    assert weights[0, 0] == pytest.approx(0.0, abs=1e-12)  # a millionth of reward decides which is dropped
    assert weights[0, 1] > 1


def tuples(law: TerminalLaw, texts: Texts, n: int, start: int) -> Numbers:
    """The law of the best of n texts by writing out every n of them; one of the best is taken, all alike."""
    mine = np.flatnonzero(texts.start == start)
    chances, result = np.exp(texts.log_reference[mine]), np.zeros(len(mine))
    rewards = texts.reward[mine]
    for chosen in itertools.product(range(len(mine)), repeat=n):
        among = np.array(chosen)
        best = among[rewards[among] > rewards[among].max() - 1e-9]
        np.add.at(result, best, chances[among].prod() / len(best))
    return result


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_that_of_all_tuples(n: int) -> None:
    ties = 0
    for seed in SEEDS:
        problem, kl_coef = draw(seed, terminal=True)
        law, texts = terminal_law(problem), written_out(problem)
        if len(texts.reward) > 40:
            continue
        tilted = fixed_points.best_of(law, n)
        chances = text_law(law, texts, tilted)
        nats = 0.0
        for start in range(len(law.start)):
            mine = texts.start == start
            known = tuples(law, texts, n, start)
            np.testing.assert_allclose(chances[mine], known, atol=1e-12)
            nats += law.start[start] * float(known @ (np.log(known) - texts.log_reference[mine]))
            ties += int(mine.sum() > (law.probabilities[start] > 0).sum())
        assert fixed_points.of_law(law, tilted, kl_coef).kl == pytest.approx(nats, abs=1e-12)
        assert nats <= math.log(n) - (n - 1) / n + 1e-12
        assert n == 1 or nats < math.log(n) - (n - 1) / n
    assert ties


def test_the_pitfalls_are_below_the_optimum_and_the_page_is_theirs() -> None:
    rows = [*pitfalls.on_one_price(), *pitfalls.on_prompts()]
    control, *wrong = rows
    assert control.score == pytest.approx(1.0, abs=1e-9)
    for row in rows:
        task, best = pitfalls.exact_task(row.env_id)
        if row.point is None:
            assert row.score > 1  # a number that no policy reaches
            continue
        assert best.policy is not None
        assert row.score <= 1 + 1e-9
        assert row.point.objective == pytest.approx(
            row.point.expected_reward - task.kl_coef * row.point.kl, abs=1e-9
        )
        # below every tangent of the frontier: E[r] <= J*(c) + c KL at every coefficient c
        law = terminal_law(best.policy.problem)
        for coefficient in np.geomspace(task.kl_coef / 50, task.kl_coef * 50, 60):
            assert (
                row.point.expected_reward <= law.optimum(coefficient)[0] + coefficient * row.point.kl + 1e-9
            )
    assert all(row.score < 0.95 for row in wrong if row.point is not None)
    page = Path(pitfalls.FOLDER / "README.md").read_text(encoding="utf-8")
    assert pitfalls.table(rows) == page, "python -m benchmarks.studies.pitfalls writes another page now"


def test_the_command_writes_the_page_and_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert pitfalls.main(["--out", str(tmp_path / "made")]) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "README.md", "pitfalls.png", "pitfalls.svg",
    }  # fmt: skip
    assert "k1 in the reward" in capsys.readouterr().out
