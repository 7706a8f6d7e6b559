"""Brackets, Arithmetic and the diagnostics: each against its own page, read again in plain Python.

The oracles know nothing of automata or of the solver. They write out every text of a small version of the
task, price it as the page says, and add up; what is invariant or known in closed form is tested at full size.
"""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from klrl_envs.optima.optimum import optimum_of, problem_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.registry import REGISTRY
from klrl_envs.tasks.automaton_task import AutomatonTask
from tests.oracles import Numbers, evaluation_task, summed, texts_of
from tests.playing import play
from tests.tasks.pages import PAGES, Page, well_formed

DIAGNOSTICS = [row.id for row in REGISTRY if "diagnostic" in row.tags]
IDS = ["Brackets-v0", "Arithmetic-v0", *DIAGNOSTICS]


def enumerated(task: AutomatonTask, prompt: int, page: Page) -> Numbers:
    """The optimum of one prompt, by writing out every text."""
    words = task.vocabulary.words
    given = task.prompts.tokens[prompt].tolist()
    prompted = [words[token] for token in given]
    weights: dict[float, list[float]] = {}
    for tokens, log_probs in texts_of(task, given[-1] if given else None):
        reward = page(prompted, [words[token] for token in tokens if token != task.end_token])
        weights.setdefault(reward, []).append(math.exp(sum(log_probs)))
    log_probs = [math.log(math.fsum(chances)) for chances in weights.values()]
    return summed(log_probs, list(weights), task.kl_coef)


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("Brackets-v0", {"horizon": 6, "shortest": 4, "longest": 5}),
    ("Brackets-v0", {"horizon": 5, "shortest": 4, "longest": 8, "kl_coef": 0.03}),
    ("DiagnosticZeroReward-v0", {"horizon": 3}),
    ("DiagnosticLength-v0", {"horizon": 3}),
    ("DiagnosticVocabulary-v0", {"horizon": 3, "clones": 1}),
    ("DiagnosticVocabulary-v0", {"horizon": 2, "clones": 4}),
    ("DiagnosticSparsity-v0", {"horizon": 5}),
    ("DiagnosticSparsity-v0", {"horizon": 4, "probability": 0.2, "kl_coef": 0.5}),
    *(("DiagnosticDelay-v0", {"horizon": 3, "delay": delay}) for delay in (0, 1, 3)),
    ("DiagnosticNoise-v0", {"horizon": 3}),
    ("DiagnosticCoefficient-v0", {"horizon": 3, "kl_coef": 0.02}),
    ("DiagnosticReference-v0", {"horizon": 3}),
    ("DiagnosticGold-v0", {"horizon": 3}),
    ("DiagnosticModes-v0", {"horizon": 3}),
]


@pytest.mark.parametrize(("task_id", "arguments"), SMALL)
def test_optimum_is_that_of_all_texts_written_out(task_id: str, arguments: dict[str, Any]) -> None:
    task = evaluation_task(task_id, **arguments)
    page = PAGES[task_id]
    if task_id == "Brackets-v0":
        page = well_formed(arguments["shortest"], arguments["longest"])
    best = optimum_of(task)
    known = enumerated(task, 0, page)
    assert best.value == pytest.approx(known.value, abs=1e-10)
    assert best.reference_value == pytest.approx(known.reference_value, abs=1e-10)
    assert best.expected_reward == pytest.approx(known.expected_reward, abs=1e-10)


@pytest.mark.parametrize(
    ("task_id", "horizon", "prompts"),
    [("Arithmetic-v0", 3, range(0, 128, 37)), ("DiagnosticPromptScale-v0", 2, range(12))],
)
def test_optimum_of_each_prompt_is_that_of_all_texts_written_out(
    task_id: str, horizon: int, prompts: range
) -> None:
    task = evaluation_task(task_id, horizon=horizon)
    best = optimum_of(task)
    known = [enumerated(task, prompt, PAGES[task_id]) for prompt in prompts]
    np.testing.assert_allclose(
        best.policy.start_values[prompts], [each.value for each in known], atol=1e-10, rtol=0
    )
    own = problem_of(task).reference_values
    np.testing.assert_allclose(own[prompts], [each.reference_value for each in known], atol=1e-10, rtol=0)
    if len(prompts) == len(task.prompts.tokens):
        assert best.value == pytest.approx(np.mean([each.value for each in known]), abs=1e-10)
        assert best.expected_reward == pytest.approx(
            np.mean([each.expected_reward for each in known]), abs=1e-10
        )


@pytest.mark.parametrize("task_id", PAGES, scope="module")
def test_what_is_paid_is_what_the_page_says(task_id: str) -> None:
    """Texts of the optimum at the defaults, so that rewards do occur, against the oracle's price."""
    task = evaluation_task(task_id, **({"sigma": 0.0} if task_id == "DiagnosticNoise-v0" else {}))
    lanes = 120
    engine, paid = play(task, lanes, seed=5)
    words = task.vocabulary.words
    for lane in range(lanes):
        row = [words[token] for token in engine.tokens[lane] if token != task.pad]
        prompt, text = row[: task.prompt_length], row[task.prompt_length :]
        assert paid[lane] == pytest.approx(PAGES[task_id](prompt, text), abs=1e-12)
    assert np.unique(paid).size > (0 if task_id == "DiagnosticZeroReward-v0" else 1)


@pytest.mark.parametrize("task_id", IDS, scope="module")
def test_task_is_worth_playing(task_id: str) -> None:
    task = evaluation_task(task_id)
    best = optimum_of(task)
    if task_id == "DiagnosticZeroReward-v0":
        assert best.value == pytest.approx(0, abs=1e-12)
        assert best.kl == pytest.approx(0, abs=1e-10)
        return
    assert 1 <= best.kl <= 15
    assert best.value - best.reference_value > 0.1
    scores = probe_scores(task)
    assert max(scores.get(name, -1.0) for name in ("uniform", "repeat", "end")) <= 0.3
    assert scores["maximiser"] <= 0.8


@pytest.mark.parametrize("task_id", IDS, scope="module")
def test_features_tell_the_states_apart(task_id: str) -> None:
    for split in ("train", "evaluation"):
        task = evaluation_task(task_id, prompts=split)
        features = task.state_features
        assert features.dtype == np.float32 and features.shape[0] == task.automaton.states
        assert features.min() >= 0 and features.max() <= 1
        assert len(np.unique(features, axis=0)) == len(features)


@pytest.mark.parametrize("task_id", IDS, scope="module")
def test_task_survives_a_pickle(task_id: str) -> None:
    task = evaluation_task(task_id)
    again = pickle.loads(pickle.dumps(task))
    assert again.fingerprint == task.fingerprint and again.kl_coef == task.kl_coef
    assert again.reward_noise == task.reward_noise


def test_diagnostics_say_what_must_hold() -> None:
    assert len(DIAGNOSTICS) >= 11
    for row in REGISTRY:
        if row.id in IDS:
            page = row.specification()
            assert "## Description" in page
            assert ("## What must hold" in page) == (row.id in DIAGNOSTICS)
