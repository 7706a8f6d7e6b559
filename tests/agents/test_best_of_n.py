"""Best-of-n by enumeration: its law, its rows, its texts, and the n that it takes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from agents import best_of_n
from agents.best_of_n import (
    BestOfN,
    BestOfNArguments,
    affordable_count,
    as_optimum,
    best_count,
    estimated_law,
    log_weights,
    most_nats,
    objective_of,
)
from klrl_envs import AutomatonTask, evaluate_exactly
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from tests.agents.tiny import tiny_task


def texts_of(task: AutomatonTask) -> list[tuple[tuple[int, ...], float, float]]:
    """Every text of the tiny task, its probability under pi0, and its reward."""
    found = []
    for text in [(0,), *itertools.product((1, 2), range(3))]:
        context, state, log_prob = np.array([task.reference.start_context]), np.array([0]), 0.0
        for token in text:
            log_prob += float(task.reference.log_prob(context, np.array([token]))[0])
            state = task.automaton.transition[state, token]
            context = task.reference.next_context(context, np.array([token]))
        found.append((text, float(np.exp(log_prob)), float(task.automaton.final_reward[state[0]])))
    return found


def enumerated(task: AutomatonTask, n: int) -> dict[tuple[int, ...], float]:
    """The law of the first best of n texts, all n-tuples of texts added up."""
    texts = texts_of(task)
    total = {text: 0.0 for text, _, _ in texts}
    for chosen in itertools.product(texts, repeat=n):
        best = max(chosen, key=lambda one: one[2])
        total[best[0]] += float(np.prod([one[1] for one in chosen]))
    return total


def env_of(task: AutomatonTask):
    return klrl_envs.exact_task(
        task.reference, task.automaton, horizon=task.horizon, kl_coef=task.kl_coef, end_token=task.end_token
    )


def law_of(task: AutomatonTask) -> TerminalLaw:
    policy = klrl_envs.optimum(env_of(task)).policy
    assert policy is not None
    return terminal_law(policy.problem)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_weights_are_those_of_enumeration(n: int) -> None:
    task = tiny_task()
    law = law_of(task)
    weight = dict(zip(law.rewards.tolist(), np.exp(log_weights(law, n)[0]).tolist(), strict=True))
    best = enumerated(task, n)
    for text, chance, reward in texts_of(task):
        assert chance * weight[reward] == pytest.approx(best[text], abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_rows_reach_what_enumeration_says(n: int) -> None:
    task = tiny_task()
    best = enumerated(task, n)
    reward = sum(best[text] * paid for text, _, paid in texts_of(task))
    nats = sum(best[text] * np.log(best[text] / chance) for text, chance, _ in texts_of(task))
    found = evaluate_exactly(as_optimum(task, law_of(task), n), env_of(task))
    assert found.expected_reward == pytest.approx(reward, abs=1e-10)
    assert found.kl == pytest.approx(nats, abs=1e-10)
    assert nats <= most_nats(n) + 1e-12
    expected = objective_of(law_of(task), n, task.kl_coef, known=True)
    assert found.objective == pytest.approx(expected, abs=1e-10)


def test_texts_are_drawn_with_the_log_probs_of_enumeration() -> None:
    task, n, count = tiny_task(), 3, 4000
    law, best = law_of(task), enumerated(tiny_task(), 3)
    policy = BestOfN(task, n, law)
    assert policy.log_prob_kind == "exact"
    prompts = np.zeros((count, 0), dtype=np.int64)
    tokens, log_prob = policy.sample(prompts, np.random.default_rng(0))
    texts = [(0,) if row[0] == 0 else tuple(row) for row in tokens.tolist()]
    np.testing.assert_allclose(log_prob, [np.log(best[text]) for text in texts], atol=1e-10)
    for text, chance in best.items():
        assert texts.count(text) / count == pytest.approx(chance, abs=5 * (chance / count) ** 0.5)
    loose = BestOfN(task, n, None)
    assert loose.log_prob_kind == "upper"
    _, bound = loose.sample(prompts, np.random.default_rng(0))
    assert bound.mean() > log_prob.mean()


def test_weights_hold_where_n_is_large_and_chances_are_small() -> None:
    chances = np.array([[1 - 1e-3 - 1e-9, 1e-3, 1e-9]])
    law = TerminalLaw(np.ones(1), np.arange(3.0), chances)
    for n in (1, 10**4, 2**30):
        assert (chances * np.exp(log_weights(law, n))).sum() == pytest.approx(1.0, rel=1e-6)
    # the rarest: n of them among n texts, as long as that is rare
    assert log_weights(law, 1000)[0, 2] == pytest.approx(np.log(1000), abs=1e-5)


def test_the_best_n_is_the_best() -> None:
    law = law_of(tiny_task())
    worth = {n: objective_of(law, n, 0.1, known=True) for n in range(1, 65)}
    assert best_count(lambda n: objective_of(law, n, 0.1, known=True), 64) == max(
        worth, key=lambda n: worth[n]
    )


def test_an_estimated_law_is_near_the_law() -> None:
    task = tiny_task()
    law, found = law_of(task), estimated_law(task, 4000, np.random.default_rng(0))
    np.testing.assert_array_equal(found.rewards, law.rewards)
    np.testing.assert_allclose(found.probabilities, law.probabilities, atol=0.04)


def test_prompts_have_laws_of_their_own(tmp_path: Path) -> None:
    args = BestOfNArguments(
        env_id="klrl/DiagnosticPromptScale-v0", episodes=240, out=str(tmp_path), n=4, evaluation_seed=1
    )
    evaluation = best_of_n.train(args)
    assert evaluation.bound == "exact" and evaluation.comparison is None
    best = klrl_envs.optimum("klrl/DiagnosticPromptScale-v0")
    assert best.policy is not None
    expected = objective_of(terminal_law(best.policy.problem), 4, best.kl_coef, known=True)
    assert evaluation.objective.lower - 0.05 < expected < evaluation.objective.upper + 0.05


def test_where_texts_do_not_tell_the_reward_it_says_what_it_needs(tmp_path: Path) -> None:
    for env_id in ("klrl/GridNavigation-v0", "klrl/Dialogue-v0", "klrl/DiagnosticNoise-v0"):
        with pytest.raises(ValueError, match="best_of_n needs an environment whose reward is a function of"):
            best_of_n.train(BestOfNArguments(env_id=env_id, out=str(tmp_path)))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        best_of_n.train(BestOfNArguments(env_id="klrl/DiagnosticGold-v0", n=0, out=str(tmp_path)))


@pytest.mark.parametrize("name", ["Topic-v0", "Sentiment-v0"])
def test_the_default_count_and_its_trial_are_inside_the_budget(name: str) -> None:
    row = klrl_envs.find_row(name)
    task = row.make(prompts="evaluation")
    args = BestOfNArguments()
    count = affordable_count(task, row.token_budget, args.episodes, args.trial)
    prompts = len(task.prompts.tokens)
    trial = -(-args.trial // prompts) * prompts
    assert count >= 1
    assert (count * args.episodes + trial) * task.horizon <= row.token_budget
    assert ((count + 1) * args.episodes + trial) * task.horizon > row.token_budget
