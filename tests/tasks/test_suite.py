"""The whole suite: what theory says of every exact environment, by exact evaluation and by sampling.

Word tasks are cut down by their own arguments, as an exact evaluation costs states times tokens a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.registry import REGISTRY
from klrl_envs.tasks.automaton_task import AutomatonTask
from tests.oracles import evaluation_task

pytestmark = pytest.mark.slow

IDS = [row.id for row in REGISTRY if "exact" in row.tags]
SMALLER: dict[str, dict[str, Any]] = {
    "GridNavigation-v0": {"horizon": 12},
    "Keywords-v0": {"horizon": 2, "keywords": ["film", "great"]},
    "NaiveBayesSentiment-v0": {"horizon": 2},
    "Topic-v0": {"horizon": 2},
    "Haiku-v0": {"horizon": 2},
    "Recall-v0": {"horizon": 2},
    "Diversity-v0": {"horizon": 2, "classes": [0, 2]},
    "Dialogue-v0": {"horizon": 6, "turns": 2},
    "DiagnosticLength-v0": {"horizon": 6},
    "DiagnosticVocabulary-v0": {"horizon": 4},
}
"""What makes an id cheap to evaluate exactly."""
WITHOUT_STAKES = {"DiagnosticZeroReward-v0", "Haiku-v0"}  # two words are no haiku


class RandomPolicy:
    """A policy with rows of its own at every state: a function of context, state and time."""

    def __init__(self, task: AutomatonTask, seed: int) -> None:
        rng = np.random.default_rng(seed)
        size = task.vocab_size
        self.of_context = rng.normal(size=(task.reference.contexts, size)).astype(np.float32)
        self.of_state = rng.normal(size=(task.automaton.states, size)).astype(np.float32)
        self.of_time = rng.normal(size=(task.horizon, size))

    def state_log_probs(self, context: np.ndarray, state: np.ndarray, time: np.ndarray) -> np.ndarray:
        logits = self.of_context[context] + self.of_state[state] + self.of_time[time]
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_every_argument_above_is_of_an_exact_environment() -> None:
    assert set(SMALLER) <= set(IDS)


@pytest.mark.parametrize("task_id", IDS, scope="module")
def test_the_optimum_scores_one_and_others_less_by_their_divergence(task_id: str) -> None:
    arguments = SMALLER.get(task_id, {})
    task = evaluation_task(task_id, **arguments)
    best = optimum_of(task)
    optimal = klrl_envs.evaluate_exactly("optimal", task_id, **arguments)
    assert optimal.objective == pytest.approx(best.value, abs=1e-9 * max(1.0, abs(best.value)))
    assert optimal.expected_reward == pytest.approx(best.expected_reward, abs=1e-8)
    assert optimal.kl == pytest.approx(best.kl, abs=1e-8)
    worthwhile = best.value - best.reference_value > 1e-9
    assert worthwhile == (task_id not in WITHOUT_STAKES)
    assert optimal.score == (pytest.approx(1.0, abs=1e-9) if worthwhile else None)
    random = klrl_envs.evaluate_exactly(RandomPolicy(task, 0), task_id, **arguments)
    assert random.regret > 0
    divergence = random.comparison.reverse_kl.estimate
    assert random.regret == pytest.approx(task.kl_coef * divergence, rel=1e-12)
    assert random.objective == pytest.approx(best.value - task.kl_coef * divergence, rel=1e-9, abs=1e-9)
    assert random.score is None or random.score < 1


@pytest.mark.parametrize("policy", ["reference", "uniform"])
@pytest.mark.parametrize("task_id", IDS, scope="module")
def test_samples_agree_with_the_exact_value(task_id: str, policy: str) -> None:
    arguments = SMALLER.get(task_id, {})
    best = optimum_of(evaluation_task(task_id, **arguments))
    exact = klrl_envs.evaluate_exactly(policy, task_id, **arguments)
    sampled = klrl_envs.evaluate(policy, task_id, episodes=384, seed=7, **arguments)
    unseen = 0.05 * (best.expected_reward - best.reference_value)  # what rare texts may hide from 384
    for name in ("objective", "expected_reward", "kl"):
        interval, value = getattr(sampled, name), getattr(exact, name)
        slack = 2.5 * (interval.upper - interval.lower) + unseen + 1e-9 * max(1.0, abs(value))
        assert abs(interval.estimate - value) <= slack, name
    if policy == "reference":
        assert exact.kl == pytest.approx(0.0, abs=1e-12)
        assert exact.objective == pytest.approx(best.reference_value, abs=1e-9 * max(1.0, abs(best.value)))


@pytest.mark.parametrize("task_id", ["GridNavigation-v0", "Keywords-v0"])
def test_probes_do_badly(task_id: str) -> None:
    """The other ids' probes are tested beside their pages."""
    task = evaluation_task(task_id)
    assert 1 <= optimum_of(task).kl <= 15
    scores = probe_scores(task)
    assert scores.pop("maximiser") <= 0.8
    assert max(scores.values()) <= 0.3
