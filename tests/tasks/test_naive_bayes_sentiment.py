"""NaiveBayesSentiment: the logistic of a sum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.registry import make_task
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.naive_bayes_sentiment import sentiment_task
from tests.oracles import assert_exact, letter_reference


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_sentiment_is_the_logistic_of_the_summed_log_odds(kl_coef: float) -> None:
    weights = np.array([0, 3, -2, 1, -4])
    task = sentiment_task(letter_reference("$abcd", 0), weights, 0.3, kl_coef=kl_coef, horizon=4, prior=-0.7)
    assert_exact(task, lambda text, _: 1 / (1 + math.exp(0.7 - 0.3 * sum(weights[list(text)]))))
    sums = task.final_metrics["log_odds"]
    np.testing.assert_allclose(task.automaton.final_reward, 1 / (1 + np.exp(-sums)), atol=1e-14)


def test_sums_are_a_few_hundred_and_none_is_clamped() -> None:
    task = make_task("NaiveBayesSentiment-v0")
    assert isinstance(task, AutomatonTask)
    lexicon = word_lexicon()
    assert 200 <= task.automaton.states <= 500
    state = int(np.flatnonzero(task.automaton.start)[0])
    for word in [int(lexicon.weights.argmax())] * task.horizon:
        state = int(task.automaton.transition[state, word])
    sums = task.final_metrics["log_odds"]
    assert sums[state] == pytest.approx(-4 + lexicon.eta * task.horizon * lexicon.weights.max(), abs=1e-9)
