"""Arguments of tasks: what is refused, by name, and what the fingerprint follows."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from klrl_envs.optima.problem import Problem
from klrl_envs.registry import REGISTRY, make_task
from tests.oracles import evaluation_task

IDS = ["Brackets-v0", "Arithmetic-v0", *(row.id for row in REGISTRY if "diagnostic" in row.tags)]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("Brackets-v0", {"shortest": 12, "longest": 10}, "shortest and longest must be"),
    ("Brackets-v0", {"longest": 12.5}, "shortest and longest must be"),
    ("DiagnosticVocabulary-v0", {"clones": 0}, "clones must be a whole number"),
    ("DiagnosticVocabulary-v0", {"clones": True}, "clones must be a whole number"),
    ("DiagnosticSparsity-v0", {"probability": 0.0}, "probability must be above 0 and below 1"),
    ("DiagnosticSparsity-v0", {"probability": 1.0}, "probability must be above 0 and below 1"),
    ("DiagnosticDelay-v0", {"delay": -1}, "delay must be a whole number of tokens"),
    ("DiagnosticDelay-v0", {"delay": 17}, "delay must be a whole number of tokens"),
    ("DiagnosticNoise-v0", {"sigma": -0.5}, "sigma must be a finite number"),
    ("DiagnosticNoise-v0", {"sigma": math.inf}, "sigma must be a finite number"),
    ("DiagnosticReference-v0", {"temperature": 0.0}, "temperature must be a number from 0.05 to 20"),
    *((task_id, {"reference": "no-such-model"}, "reference must be") for task_id in IDS),
]


@pytest.mark.parametrize(("task_id", "arguments", "message"), BAD)
def test_bad_arguments_are_refused_by_name(task_id: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(task_id, **arguments)


def test_what_is_no_horizon_temperature_or_place_of_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon must be a whole number of at least 1 token, got None"):
        evaluation_task("DiagnosticDelay-v0", horizon=None)
    with pytest.raises(ValueError, match="temperature must be a number from"):
        evaluation_task("DiagnosticReference-v0", temperature=1e-30)
    task = evaluation_task("DiagnosticPromptScale-v0")
    for state in (-1, 99):
        with pytest.raises(ValueError, match="prompts must lead to a state in"):
            Problem(task.reference, task.automaton, 3, 0, (np.array([0]), np.array([state])))


@pytest.mark.parametrize(
    ("task_id", "arguments", "message"),
    [
        (
            "Topic-v0",
            {"topic": "zebra"},
            "topic must be a word .* that has a vector, got 'zebra'",
        ),
        ("Topic-v0", {"topic": "."}, "topic must be a word of the vocabulary that has a vector"),
        ("Topic-v0", {"similarity": -1}, "similarity must be a finite number of at least 0, got -1"),
        ("Topic-v0", {"likelihood": math.nan}, "likelihood must be a finite number"),
        ("NaiveBayesSentiment-v0", {"prior": math.inf}, "prior must be a finite number of nats, got inf"),
        ("NaiveBayesSentiment-v0", {"horizon": 2.5}, "horizon must be a whole number"),
        ("Diversity-v0", {"classes": [1, 1]}, "classes must be 1 to 10 distinct numbers in 0..15"),
        ("Diversity-v0", {"classes": []}, "classes must be 1 to 10"),
        ("Diversity-v0", {"classes": [16]}, "classes must be 1 to 10"),
        ("Diversity-v0", {"classes": list(range(11))}, "classes must be 1 to 10"),
        ("Recall-v0", {"commonest": 2000}, r"commonest must be a whole number in 0\.\.1999, got 2000"),
        ("Recall-v0", {"commonest": -1}, "commonest must be a whole number"),
        ("Recall-v0", {"reference": "uniform"}, "reference must be 'words', got 'uniform'"),
        ("Haiku-v0", {"reference": "uniform"}, "reference must be 'words', got 'uniform'"),
    ],
)
def test_bad_arguments_are_named(task_id: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(task_id, **arguments)


@pytest.mark.parametrize(
    ("task_id", "arguments"),
    [
        ("NaiveBayesSentiment-v0", {"prior": -1.0}),
        ("Topic-v0", {"topic": "war"}),
        ("Topic-v0", {"likelihood": 0.25}),
        ("Haiku-v0", {"content_ends": False}),
        ("Recall-v0", {"commonest": 150}),
        ("Diversity-v0", {"classes": (0, 2, 3)}),
    ],
)
def test_fingerprints_follow_the_arguments(task_id: str, arguments: dict[str, Any]) -> None:
    default, other = make_task(task_id), make_task(task_id, **arguments)
    assert default.fingerprint == make_task(task_id, kl_coef=3.0).fingerprint
    assert default.fingerprint != other.fingerprint
    assert other.source is not None
    assert other.source.task().fingerprint == other.fingerprint
