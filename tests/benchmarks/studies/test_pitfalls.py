"""The pitfalls: below the optimum, and on the committed page as they are computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import followed, mistakes, pitfalls, pitfalls_figure
from klrl_envs.optima.terminal_law import terminal_law


@pytest.mark.slow
def test_the_pitfalls_are_below_the_optimum_and_the_page_is_theirs() -> None:
    rows = mistakes.all_rows()
    right = [row for row in rows if row.signal.kind == "right"]
    wrong = [row for row in rows if row.signal.kind != "right"]
    assert len(right) == 4 and all(row.score == pytest.approx(1.0, abs=1e-9) for row in right)
    for row in rows:
        task, best = mistakes.task_and_optimum(row.env_id)
        if row.point is None:
            assert row.score > 1  # a number that no policy reaches
            continue
        assert best.policy is not None
        assert row.score <= 1 + 1e-9
        assert row.point.objective == pytest.approx(
            row.point.expected_reward - task.kl_coef * row.point.kl, abs=1e-9
        )
        # below every tangent of the frontier: E[r] <= J*(c) + c KL at every coefficient c
        law = terminal_law(best.policy.problem)
        for coefficient in np.geomspace(task.kl_coef / 50, task.kl_coef * 50, 60):
            assert (
                row.point.expected_reward <= law.optimum(coefficient)[0] + coefficient * row.point.kl + 1e-9
            )
    assert all(row.score < 0.95 for row in wrong if row.point is not None)
    assert all((row.signal.kind == "claim") == (row.point is None) for row in rows)
    assert len({row.label for row in rows}) == len(rows)
    page = Path(pitfalls.FOLDER / "README.md").read_text(encoding="utf-8")
    assert pitfalls.table(rows) == page, "python -m benchmarks.studies.pitfalls writes another page now"


@pytest.mark.slow
def test_the_command_writes_the_page_and_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert pitfalls.main(["--out", str(tmp_path / "made")]) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "README.md", "pitfalls.png", "pitfalls.svg",
    }  # fmt: skip
    assert "k1 in the reward, per token or sequence" in capsys.readouterr().out


@pytest.mark.slow
def test_a_followed_signal_has_arrived() -> None:
    """Twice the way in steps of half the size ends at the same score."""
    study = mistakes.OnePrice()
    scores = [
        study.by_states(
            mistakes.Signal("", "", "estimator", ""),
            followed.token_k3_in_the_reward(study.problem, study.beta, steps=steps, learning_rate=rate),
        ).score
        for steps, rate in ((mistakes.TOKEN_STEPS, mistakes.TOKEN_LEARNING_RATE), (4_000, 0.1))
    ]
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert set(pitfalls_figure.COLOURS) == set(mistakes.KINDS)
    assert len(set(pitfalls_figure.COLOURS.values())) == len(mistakes.KINDS)


def test_labels_stay_in_the_box_and_off_the_marks() -> None:
    rng = np.random.default_rng(0)
    marks, box = rng.uniform(0, 400, size=(14, 2)), np.array([[0.0, 0.0], [400.0, 400.0]])
    labels = [str(number) for number in range(14)]
    at = marks + pitfalls_figure.place(marks, marks, box, labels)
    assert ((at > 0) & (at < 400)).all()
    apart = np.linalg.norm(at[:, None] - marks[None], axis=2)
    assert apart.min() > 10
    between = np.linalg.norm(at[:, None] - at[None], axis=2) + 1e9 * np.eye(14)
    assert between.min() > 10


def test_numbers_are_drawn_together() -> None:
    assert pitfalls_figure.runs_of([1, 2, 3, 10]) == "1-3, 10"
    assert pitfalls_figure.runs_of([4, 5]) == "4, 5"
