"""The pitfalls: below the optimum, and on the committed page as they are computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import mistakes, pitfalls
from klrl_envs.optima.terminal_law import terminal_law


def test_the_pitfalls_are_below_the_optimum_and_the_page_is_theirs() -> None:
    rows = [*mistakes.on_one_price(), *mistakes.on_prompts()]
    control, *wrong = rows
    assert control.score == pytest.approx(1.0, abs=1e-9)
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
    page = Path(pitfalls.FOLDER / "README.md").read_text(encoding="utf-8")
    assert pitfalls.table(rows) == page, "python -m benchmarks.studies.pitfalls writes another page now"


def test_the_command_writes_the_page_and_the_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert pitfalls.main(["--out", str(tmp_path / "made")]) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "README.md", "pitfalls.png", "pitfalls.svg",
    }  # fmt: skip
    assert "k1 in the reward" in capsys.readouterr().out
