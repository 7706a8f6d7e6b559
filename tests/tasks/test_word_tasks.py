"""What holds of all word tasks: something to learn, features, words that a reader can judge, references."""

from __future__ import annotations

import math

import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.registry import make_task
from klrl_envs.tasks.automaton_task import AutomatonTask
from tests.oracles import evaluation_task, paid_for

pytestmark = pytest.mark.slow

WORD_TASKS = ("NaiveBayesSentiment-v0", "Topic-v0", "Haiku-v0", "Recall-v0", "Diversity-v0")


@pytest.mark.parametrize("task_id", WORD_TASKS, scope="module")
def test_defaults_leave_something_to_learn(task_id: str) -> None:
    task = evaluation_task(task_id)
    best = optimum_of(task)
    assert 1 <= best.kl <= 15
    low, high = (0, 1) if task.reward_range == (0, 1) else (best.reference_value, best.expected_reward)
    assert best.value - best.reference_value > 0.25 * (high - low)
    scores = probe_scores(task)
    assert ("end" in scores) == (task.end_token is not None)
    assert scores.pop("maximiser") <= 0.8
    assert max(scores.values()) <= 0.3


@pytest.mark.parametrize("task_id", WORD_TASKS, scope="module")
def test_state_features_tell_states_apart(task_id: str) -> None:
    task = make_task(task_id)
    assert isinstance(task, AutomatonTask)
    features = task.state_features
    assert features.dtype == np.float32 and len(features) == task.automaton.states
    assert ((features >= 0) & (features <= 1)).all()
    assert len({row.tobytes() for row in features}) == len(features)
    assert all(array.shape == (len(features),) for array in task.final_metrics.values())


def test_texts_that_a_reader_can_judge() -> None:
    praise, blame = (["wonderful", "and", "touching", "<end>"], ["boring", "waste", "of", "time", "<end>"])
    good, good_info = paid_for("NaiveBayesSentiment-v0", praise, prior=0.0)
    bad, _ = paid_for("NaiveBayesSentiment-v0", blame, prior=0.0)
    assert good > 0.9 > 0.1 > bad
    assert good == pytest.approx(1 / (1 + math.exp(-good_info["log_odds"])))
    lines = ["the wonderful cast", "plays a family drama", "and everyone laughs"]
    reward, info = paid_for("Haiku-v0", " ".join(lines).split())
    assert reward == 1 and info["success"] == 1 and info["lines"] == 3
    assert info["text"].split("\n") == lines
    broken, info = paid_for("Haiku-v0", ["the", "wonderful", "the"])
    assert broken == 0 and info["lines"] == 0
    assert "text" not in paid_for("Haiku-v0", ["the", "wonderful", "the"], content_ends=False)[1]
    assert paid_for("Recall-v0", ["boring", "and", "silly"], horizon=3)[0] == 1
    assert paid_for("Recall-v0", ["boring", "and", "robert"], horizon=3)[0] == 0
    assert paid_for("Recall-v0", ["the", "and", "the"], horizon=3)[1]["classed"] == 0
    assert paid_for("Recall-v0", ["she", "and", "husband"], horizon=3)[0] == 1
    found, info = paid_for("Diversity-v0", ["robert", "john", "wife", "boring", "silly", "<end>"])
    assert found == 3 / 8 and info["classes"] == 3


def test_the_trigram_is_refused_where_it_does_not_go() -> None:
    for task_id in ("Topic-v0", "Recall-v0", "Haiku-v0"):
        with pytest.raises(ValueError, match="reference must be 'words', got 'words-trigram'"):
            make_task(task_id, reference="words-trigram")
    with pytest.raises(ValueError, match="reference must be 'words' or 'words-trigram', got"):
        make_task("Keywords-v0", reference="trigram")
    with pytest.raises(ValueError, match="take a bigram, a shorter horizon or fewer states"):
        klrl_envs.optimum("klrl/Keywords-v0", reference="words-trigram", horizon=120)
