"""Evaluation where the environment writes, too."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.probes import probe_scores, repeat_objectives
from tests.talk import ASK, LEFT, guessing_game


def test_the_reference_scores_zero_and_the_optimum_one() -> None:
    env = guessing_game()
    for policy, score in (("reference", 0.0), ("optimal", 1.0)):
        found = klrl_envs.evaluate(policy, env, episodes=2048, seed=1)
        assert found.score.lower - 1e-9 <= score <= found.score.upper + 1e-9
        assert found.exact and found.tokens > 2048


class Caching:
    """A policy with rows of its own, whose cached pair must not be asked."""

    def log_probs(self, observations: np.ndarray) -> np.ndarray:
        lengths = (observations != 6).sum(axis=1)
        last = observations[np.arange(len(observations)), np.maximum(lengths - 1, 0)]
        logits = np.sin(np.outer(last + 1, np.arange(1, 7)))
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def start(self, prompts: np.ndarray) -> Any:
        raise AssertionError("replies are no tokens of the policy's")

    step = start


def test_samples_agree_with_the_forward_pass() -> None:
    env = guessing_game(horizon=5)
    policy = Caching()
    sampled = klrl_envs.evaluate(policy, env, episodes=20_000, seed=0)
    assert not sampled.exact
    rows = policy.log_probs(np.arange(6)[:, None])

    class ByContext:
        def state_log_probs(self, context: Any, state: Any, time: Any) -> Any:
            return np.concatenate([rows, rows[:1]])[context]

    exact = klrl_envs.evaluate_exactly(ByContext(), env)
    for name in ("objective", "expected_reward", "kl", "regret", "score"):
        interval = getattr(sampled, name)
        width = interval.upper - interval.lower
        assert abs(interval.estimate - getattr(exact, name)) <= 1.5 * width, name
    assert exact.regret == pytest.approx(0.3 * exact.comparison.reverse_kl.estimate)


def test_texts_written_blindly_are_refused() -> None:
    class Blind:
        def sample(self, prompts: np.ndarray, rng: np.random.Generator) -> Any:
            return np.zeros((len(prompts), 4), dtype=np.int64), np.zeros(len(prompts))

    with pytest.raises(TypeError, match="Blind samples whole texts, and exact_task replies in between"):
        klrl_envs.evaluate(Blind(), guessing_game(), episodes=8)


def test_probes_are_valued_over_all_replies() -> None:
    task = guessing_game().task.exact
    values = repeat_objectives(task)
    after_greeting = task.reference.table[0, LEFT]
    assert values[LEFT] == pytest.approx(0.5 + 0.3 * after_greeting), "half the wishes are on the left"
    # the question, answered by yes or no, and asked again without an answer
    table = task.reference.table
    rest = 0.5 * (table[2, ASK] + table[3, ASK]) + 2 * table[ASK, ASK]
    assert values[ASK] == pytest.approx(4 * -0.05 + 0.3 * (table[0, ASK] + rest))
    scores = probe_scores(task)
    assert max(scores.values()) <= 1.0 and set(scores) == {"uniform", "repeat", "maximiser"}
    best = optimum_of(task)
    assert best.frontier([0.3])[0].value == pytest.approx(best.value)
