"""What a consensus of pi0's texts is worth, where every text and every answer can be written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import unseen_answers as study
from klrl_envs import evaluation_task
from klrl_envs.evaluation.shown_texts import reference_texts
from klrl_envs.reward.text_overlap import best_of, rouge_l

KL_COEF = 0.2


def written_out(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten texts, of which pi0 draws each alike: their rewards [answer, text], and what each may expect."""
    rewards = np.random.default_rng(seed).random((10, 10))
    return rewards, rewards.mean(axis=0)


def test_numbers_are_those_of_the_policy_written_out() -> None:
    rewards, expected = written_out(0)
    policy = np.exp(1.5 * expected / KL_COEF)
    policy /= policy.sum()
    kl = float((policy * np.log(10 * policy)).sum())
    found = study.consensus(rewards[3], expected, KL_COEF, 1.5)
    assert found.kl == pytest.approx(kl, abs=1e-12)
    assert found.expected_reward == pytest.approx(policy @ rewards[3], abs=1e-12)
    assert found.objective == pytest.approx(policy @ rewards[3] - KL_COEF * kl, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_at_scale_one_it_is_the_best_that_does_not_know_which_text_is_the_answer(seed: int) -> None:
    rewards, expected = written_out(seed)

    def objective(scale: float) -> float:
        return float(np.mean([study.consensus(row, expected, KL_COEF, scale).objective for row in rewards]))

    best = KL_COEF * np.log(np.mean(np.exp(expected / KL_COEF)))
    assert objective(1.0) == pytest.approx(best, abs=1e-12)
    assert objective(1.0) > max(objective(scale) for scale in (0.0, 0.5, 0.9, 1.1, 2.0))


def test_standard_errors_are_those_of_simulated_draws() -> None:
    rewards, expected = written_out(1)
    rng = np.random.default_rng(2)
    drawn = [
        study.consensus(rewards[0][places], expected[places], KL_COEF, 1.0)
        for places in rng.integers(0, 10, (2000, 400))
    ]
    spread = np.std([each.objective for each in drawn])
    assert np.mean([each.stderr for each in drawn]) == pytest.approx(spread, rel=0.06)


def test_texts_that_are_alike_count_as_often_as_they_were_drawn() -> None:
    texts, answers = ["a b", "a", "a b", "c"], ["a", "a b", "a b"]
    expected = [np.mean([rouge_l([text], [answer])[0] for answer in answers]) for text in texts]
    assert study.expected_rewards(rouge_l, texts, answers) == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("env_id", study.METRICS)
def test_the_metric_is_what_the_task_pays(env_id: str) -> None:
    task = evaluation_task(env_id)
    texts = reference_texts(task, np.full(20, 5), 0)
    answers = [list(task.score_texts.function._asked[5].answers)] * len(texts)  # type: ignore[attr-defined]
    told = best_of(study.METRICS[env_id], [text.written.strip() for text in texts], answers)
    assert told == pytest.approx(np.array([text.reward for text in texts]), abs=1e-12)


def test_some_environments_do_not_become_the_page_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["klrl/Translation-v0"])
    assert "say where that of some goes: --out" in capsys.readouterr().err


def test_an_environment_without_answers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        study.main(["klrl/Sentiment-v0", "--out", str(tmp_path)])
    assert "has no answers of people" in capsys.readouterr().err


def test_the_page_that_is_here_has_every_environment_with_answers() -> None:
    text = (study.FOLDER / "README.md").read_text("utf-8")
    for env_id in study.METRICS:
        assert f"| `{env_id.removeprefix('klrl/')}` |" in text
