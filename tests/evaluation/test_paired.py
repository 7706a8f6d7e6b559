"""Two policies on the same draws: the difference and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs import evaluate
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.paired import Shown, compare_policies
from klrl_envs.networks.table import Table

ENV_ID = "klrl/DiagnosticGold-v0"


class Leaning:
    """pi0's rows, leaning a little to one token; as rows of observations alone, which no state tells."""

    def __init__(self, lean: float) -> None:
        self.lean = lean
        self.task = evaluation_task(ENV_ID, {})

    def log_probs(self, observations):
        rows = np.zeros((len(observations), self.task.vocab_size))
        rows[:, 0] += self.lean
        return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def test_exact_policies_differ_exactly():
    task = evaluation_task(ENV_ID, {})
    paired = compare_policies(Shown("reference"), Shown("optimal"), task, episodes=64, seed=1)
    assert paired.score is not None and paired.score.estimate == pytest.approx(1.0)
    assert paired.objective.lower == paired.objective.upper
    best = evaluate("optimal", ENV_ID, episodes=64, seed=1)
    assert paired.kl.estimate == pytest.approx(best.kl.estimate)


def test_the_interval_of_a_difference_covers_it():
    task = evaluation_task(ENV_ID, {})
    pair = Shown(Leaning(0.5)), Shown(Leaning(0.7))
    many = compare_policies(*pair, task, episodes=32_768, seed=99)
    truth = many.objective.estimate
    assert many.objective.lower > 0, "leaning further earns more, and that is seen"
    found = [compare_policies(*pair, task, episodes=256, seed=seed).objective for seed in range(16)]
    assert sum(each.lower <= truth <= each.upper for each in found) >= 13


def test_a_policy_beside_itself_is_no_other():
    task = evaluation_task(ENV_ID, {})
    assert task.exact is not None
    paired = compare_policies(Shown(Leaning(1.0)), Shown(Leaning(1.0)), task, episodes=64, seed=0)
    assert paired.objective.estimate == 0 and paired.objective.lower == paired.objective.upper == 0
    table = compare_policies(Shown("reference"), Shown(Table(task.exact)), task, episodes=64, seed=0)
    assert table.kl.estimate == pytest.approx(0.0, abs=1e-12)
