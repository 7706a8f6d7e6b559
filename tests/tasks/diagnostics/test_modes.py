"""DiagnosticModes: the odds of the four openings."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs.optima.optimum import optimum_of
from klrl_envs.tasks.diagnostics import modes
from tests.oracles import evaluation_task


def test_modes_keep_the_odds_of_the_reference() -> None:
    odds = []
    for coefficient in (0.1, 0.18, 1.0, 1e3):
        task = evaluation_task("DiagnosticModes-v0", kl_coef=coefficient)
        policy, words = optimum_of(task).policy, task.vocabulary.words
        start = task.reference.start_context
        chances = []
        for number, (first, second) in enumerate(modes.OPENINGS):
            one, other = words.index(first), words.index(second)
            chance = policy.log_probs(start, 0, 0)[0, one] + policy.log_probs(one, 1 + number, 1)[0, other]
            chances.append(math.exp(chance))
        assert sum(chances) == pytest.approx(optimum_of(task).expected_reward, abs=1e-10)
        odds.append(np.array(chances) / chances[0])
    for row in odds[1:]:
        np.testing.assert_allclose(row, odds[0], rtol=1e-9)
    assert odds[0].max() / odds[0].min() > 3  # there is something to keep


def test_mode_metrics_say_which_opening_a_text_has() -> None:
    env: Any = gym.make("klrl/DiagnosticModes-v0")
    encode = env.unwrapped.task.vocabulary.encode
    texts_and_modes = [(" ".join(opening), letter) for opening, letter in zip(modes.OPENINGS, "abcd")]
    for text, letter in [*texts_and_modes, ("a great", None)]:
        env.reset(seed=0)
        for token in [*encode(text), 0]:
            *_, info = env.step(token)
        assert {name: info[f"mode_{name}"] for name in "abcd"} == {
            name: float(name == letter) for name in "abcd"
        }
