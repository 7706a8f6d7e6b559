"""Results show themselves: as text, in a notebook, as a frame and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

import klrl_envs
from klrl_envs.showing import as_html, as_text, rounded, shown, with_bounds
from klrl_envs.signals import check_signal, reinforce
from klrl_envs.signals.report import Report

GRID = "klrl/GridNavigation-v0"
SMALL = {"size": 4, "horizon": 6}


@pytest.fixture(scope="module")
def best() -> klrl_envs.Optimum:
    return klrl_envs.optimum(GRID, **SMALL)


@pytest.fixture(scope="module")
def evaluation() -> klrl_envs.Evaluation:
    return klrl_envs.evaluate("uniform", GRID, episodes=64, seed=0, **SMALL)


@pytest.fixture(scope="module")
def report() -> Report:
    return check_signal(reinforce, group=2, changes=("a word cloned",))


def test_numbers_are_for_people() -> None:
    assert shown(2.2e-16) == "0" and shown(-3e-13) == "0" and shown(0.123456) == "0.12346"
    assert with_bounds(0.5, (0.4, 0.61)) == "0.5 [0.4, 0.61]" and with_bounds(0.5, (0.5, 0.5)) == "0.5"
    counts = [rounded(count) for count in (999, 200_000, 1_234_567, 2_000_000)]
    assert counts == ["999", "200k", "1.23M", "2M"]


def test_lines_are_aligned_and_tables_escaped() -> None:
    assert as_text("a <title>", {"one": "1", "three": "3"}) == "a <title>\n  one    1\n  three  3"
    table = ElementTree.fromstring(as_html("a <title>", {"x & y": "1 < 2"}))
    assert table.find("caption").text == "a <title>" and table.find("tr/th").text == "x & y"  # type: ignore[union-attr]


def test_an_optimum_prints_what_it_is(best: klrl_envs.Optimum) -> None:
    text = str(best)
    assert text.startswith(f"optimum of {GRID} at kl_coef 8\n") and "soft dynamic programme" in text
    for name, value in (("J*", best.value), ("J(pi0)", best.reference_value), ("KL* (nats)", best.kl)):
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(shown(value, 4))
    assert "Optimum(" in repr(best), "and its repr is that of a dataclass"


def test_an_evaluation_prints_its_intervals(evaluation: klrl_envs.Evaluation) -> None:
    text = str(evaluation)
    assert "64 episodes" in text and "score" in text and "regret" in text and "kl_coef 8" in text
    zero = klrl_envs.evaluate("reference", "klrl/DiagnosticZeroReward-v0", episodes=2, seed=0)
    assert "score            none" in str(zero)


def test_notebooks_get_tables(
    best: klrl_envs.Optimum, evaluation: klrl_envs.Evaluation, report: Report
) -> None:
    for each in (best, evaluation):
        rows = ElementTree.fromstring(each._repr_html_()).findall("tr")
        assert [row.find("th").text for row in rows][: len(each.numbers())] == list(each.numbers())  # type: ignore[union-attr]
    assert "<table>" in report._repr_html_() and "<b>Right" in report._repr_html_()


def test_frames_have_the_numbers(
    best: klrl_envs.Optimum, evaluation: klrl_envs.Evaluation, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    assert best.to_frame().loc["J*", "estimate"] == best.value
    frame = evaluation.to_frame()
    assert frame.loc["KL (nats)", "upper"] == evaluation.kl.upper and list(frame) == [
        "estimate",
        "lower",
        "upper",
    ]
    monkeypatch.setattr("klrl_envs.showing.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pandas"):
        best.to_frame()


def test_pictures_are_drawn(
    best: klrl_envs.Optimum, evaluation: klrl_envs.Evaluation, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    axes = best.plot()
    (frontier, _, star) = axes.get_lines()
    assert star.get_xdata()[0] == best.kl and (np.diff(frontier.get_ydata()) < 1e-9).all()
    same = evaluation.plot(axes)
    assert same is axes and "this policy" in [text.get_text() for text in axes.get_legend().get_texts()]
    bars = report.plot().patches
    assert len(bars) == 1 + len(report.moves) and bars[-1].get_width() == pytest.approx(1.0)
    pyplot.close("all")
    monkeypatch.setattr("klrl_envs.showing.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="plots"):
        best.plot()
