"""Where signals end: at the optimum, where other solvers say, or with one text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.studies import fixed_points, followed
from benchmarks.studies.laws import group_normalised, of_law, sequence_forward_kl
from klrl_envs.optima.terminal_law import TerminalLaw, terminal_law
from klrl_envs.reward.automata import from_keywords
from klrl_envs.signals import Batch, TinyTask, random_task, reinforce, tiny_task
from klrl_envs.signals.calls import LargeGroup, calls_of
from klrl_envs.signals.ends import follow
from klrl_envs.signals.expected import Sampler, Signal
from klrl_envs.signals.policy import log_law, optimal, standing
from klrl_envs.tasks.diagnostics.prompt_scale import scaled_words
from tests import oracles
from tests.benchmarks.studies.texts import draw, written_out
from tests.oracles import Instance
from tests.signals import losses

TASK = random_task(words=1, horizon=3)


def end(loss, task: TinyTask = TASK, group: int = 2, sampler: Sampler | None = None):
    return follow(Signal(loss, task, calls_of(task.prompts, task.texts, group, 1), sampler))


@pytest.mark.parametrize("loss", [reinforce, losses.sequence_k2])
@pytest.mark.parametrize("kl_coef", [0.03, 0.3, 3.0])
def test_what_is_right_ends_at_the_optimum(loss, kl_coef: float) -> None:
    task = random_task(words=1, horizon=3, kl_coef=kl_coef)
    found = end(loss, task)
    assert found.found and found.at.score == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(found.law, np.exp(log_law(task, optimal(task))), atol=1e-6)


def test_the_reward_alone_ends_with_the_best_text() -> None:
    found = end(losses.reward_alone)
    assert found.found and found.texts_left == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(found.law.argmax(axis=1), TASK.rewards.argmax(axis=1))
    assert found.at.reward == pytest.approx(TASK.rewards.max(axis=1).mean(), abs=1e-6)


def test_uphill_ends_with_the_worst() -> None:
    found = end(losses.uphill)
    assert found.at.score < -1 and found.at.reward < standing(TASK, TASK.reference).reward


def test_what_comes_to_no_rest_is_said_to_be_on_its_way() -> None:
    """Each text beats the next one of three: the replicator's way round has no end."""

    def rock_paper_scissors(batch: Batch) -> torch.Tensor:
        hand = batch.tokens[:, 0]
        beaten = (hand[:, None] - hand[None]) % 3
        return losses.paid(batch, (beaten == 1).double().sum(dim=1) - (beaten == 2).double().sum(dim=1))

    law = np.array([0.5, 0.3, 0.2])
    task = tiny_task([(0,), (1,), (2,)], lambda prompt, prefix: np.log(law), np.array([[0.0, 1.0, 0.5]]), 0.3)
    found = end(rock_paper_scissors, task)
    assert not found.found


# The studies find the same ends by dynamic programmes and by laws of the reward.


def tiny(instance: Instance) -> TinyTask:
    """An instance with one start, or with several after one empty text, written out."""
    written = [list(oracles.written_out(instance, state)) for _, state, _ in oracles.beginnings(instance)]
    texts = written[0]
    rewards = np.array([[sum(pay) for _, _, pay in one] for one in written])

    def row(prompt: int, prefix: tuple[int, ...]) -> np.ndarray:
        return np.array([instance.log_prob(prefix, token) for token in range(instance.tokens)])

    return tiny_task([text for text, _, _ in texts], row, rewards, instance.kl_coef)


def instances(terminal: bool) -> list[Instance]:
    """Of one start and few texts."""
    drawn = [draw(seed, terminal=terminal) for seed in range(0, 60, 2)]
    few = [one for one in drawn if 3 <= tiny(one).texts <= 9 and np.ptp(tiny(one).rewards) > 0]
    assert len(few) >= 3
    return few[:3]


def coefficient(seed: int, kl_coef: float) -> Instance:
    """The pitfalls' task, tiny: the fraction of two wanted words that occurs, in texts of at most two."""
    reference = oracles.random_bigram(np.random.default_rng(seed), 3)
    return Instance(reference, from_keywords((1, 2), 3), 2, 0, kl_coef)


def law_of_table(instance: Instance, table: fixed_points.TablePolicy) -> np.ndarray:
    """Of the texts, as ``tiny`` has them."""
    texts = written_out(instance)
    rows = table.state_log_probs(texts.contexts, texts.states, texts.times)
    return np.exp((rows[texts.history, texts.token] * texts.written).sum(axis=1))


Update = Callable[[float], fixed_points.Update]


@pytest.mark.parametrize(
    ("loss", "update"),
    [
        (reinforce, fixed_points.objective_itself),
        (losses.token_k2, fixed_points.local_kl),
        (losses.token_k3_weighted, fixed_points.local_kl),
        (losses.exact_kl_of_visited_states, fixed_points.local_kl),
        (losses.token_k3, fixed_points.local_forward_kl),
    ],
)
def test_ends_are_those_of_the_backward_pass(loss, update: Update) -> None:
    for instance in [*instances(terminal=True), coefficient(0, 0.1), coefficient(1, 0.3)]:
        known = fixed_points.backward(instance.problem, update(instance.kl_coef))
        found = end(loss, tiny(instance))
        assert found.found
        np.testing.assert_allclose(found.law[0], law_of_table(instance, known), atol=1e-5)


@pytest.mark.parametrize("kl_coef", [0.1, 0.3])
def test_k3_of_tokens_in_the_reward_drops_the_texts_that_the_study_drops(kl_coef: float) -> None:
    for seed in range(6 if kl_coef == 0.3 else 2):
        instance = coefficient(seed, kl_coef)
        known = followed.token_k3_in_the_reward(instance.problem, kl_coef, steps=2_000, learning_rate=0.2)
        found = end(losses.token_k3_in_the_reward, tiny(instance), group=1)
        assert found.found and found.texts_left < 2
        np.testing.assert_allclose(found.law[0], law_of_table(instance, known), atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_k3_of_texts_in_the_reward_drops_the_texts_that_the_study_drops(seed: int) -> None:
    task = random_task(prompts=1, seed=seed)
    law, order = np.exp(log_law(task, task.reference))[0], np.argsort(task.rewards[0])
    of_rewards = TerminalLaw(np.ones(1), task.rewards[0][order], law[order][None])
    *_, known = followed.sequence_k3_in_the_reward(of_rewards, task.kl_coef, steps=2_000, learning_rate=0.05)
    found = end(losses.sequence_k3_in_the_reward, task, group=1)
    assert found.found and (known[0] < 1e-12).sum() >= 3
    np.testing.assert_allclose(found.law[0][order], known[0], atol=1e-4)


def test_the_group_s_deviation_ends_where_the_study_says_on_prompts_of_unequal_scale() -> None:
    """Three prompts, the words that they ask for worth .1, 1 and 10."""
    words, features = from_keywords((1, 2), 3), np.zeros((4, 0), dtype=np.float32)
    scaled, _ = scaled_words(words, features)
    starts = [((), number * words.states) for number in range(3)]
    reference = oracles.random_bigram(np.random.default_rng(0), 3)
    instance = Instance(reference, scaled, 2, 0, 0.2, starts)
    law = terminal_law(instance.problem)
    known = of_law(law, group_normalised(law, 0.2), 0.2)
    task = tiny(instance)
    found = follow(Signal(losses.normalised_by_the_group, task, LargeGroup(3, 1)))
    assert found.at.reward == pytest.approx(known.expected_reward, abs=0.02)
    assert found.at.kl == pytest.approx(known.kl, abs=0.02)


@pytest.mark.parametrize(
    ("loss", "law_of", "large"),
    [
        (losses.sequence_k3, sequence_forward_kl, False),
        (losses.normalised_by_the_group, group_normalised, True),
    ],
)
def test_ends_are_those_of_the_law_of_the_reward(loss, law_of, large: bool) -> None:
    for instance in instances(terminal=True):
        law = terminal_law(instance.problem)
        known = of_law(law, law_of(law, instance.kl_coef), instance.kl_coef)
        task = tiny(instance)
        calls = LargeGroup(1, 1) if large else calls_of(1, task.texts, 2, 1)
        found = follow(Signal(loss, task, calls))
        tolerance = 0.01 if large else 1e-5
        assert found.at.reward == pytest.approx(known.expected_reward, abs=tolerance)
        assert found.at.kl == pytest.approx(known.kl, abs=tolerance)


def test_pi0_s_texts_and_a_wrong_sampler_do_not_move_what_is_right_on_any_texts() -> None:
    for sampler in (
        Sampler(writer=TASK.reference),
        Sampler(noise=np.random.default_rng(1).normal(size=TASK.reference.shape)),
    ):
        found = end(reinforce, sampler=sampler)
        assert found.at.score == pytest.approx(1.0, abs=1e-6)
    blind = end(losses.token_k3, sampler=Sampler(writer=TASK.reference))
    assert blind.at.score < end(losses.token_k3).at.score - 0.01
