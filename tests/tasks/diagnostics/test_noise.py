"""DiagnosticNoise: the luck of a reward."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.optima.optimum import optimum_of
from tests.oracles import evaluation_task


def test_noise_has_mean_zero_and_the_deviation_asked_for() -> None:
    task = evaluation_task("DiagnosticNoise-v0", sigma=2.0)
    assert task.reward_noise == 2.0
    count = 6_000
    episodes = roll_out("reference", task, episodes=count, seed=3)
    luck = episodes.reward - episodes.metrics["mean_reward"]
    assert abs(luck.mean()) < 4 * 2 / math.sqrt(count)
    assert luck.std() == pytest.approx(2.0, rel=0.05)
    mean = optimum_of(task).reference_value
    assert episodes.reward.mean() == pytest.approx(mean, abs=4 * 2.1 / math.sqrt(count))
    still = roll_out("reference", evaluation_task("DiagnosticNoise-v0", sigma=0.0), episodes=50, seed=3)
    np.testing.assert_array_equal(still.reward, still.metrics["mean_reward"])
