"""Training speed against TRL's: what is measured, and what is said without TRL."""

from __future__ import annotations

import json

import pytest

from benchmarks.throughput import trl


def test_the_speed_is_that_after_the_warm_up() -> None:
    rows = [(100, 50.0), (200, 51.0), (300, 52.0), (500, 53.0), (700, 54.0)]
    lines = [json.dumps({"tokens": tokens, "seconds": seconds}) for tokens, seconds in rows]
    assert trl.speed_of("\n".join(lines)) == 200
    with pytest.raises(ValueError, match="at least 4 updates, got 3"):
        trl.speed_of("\n".join(lines[:3]))


def test_without_trl_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trl, "find_spec", lambda name: None)
    trl.run(1)
    assert "pip install 'klrl-envs[trl]'" in capsys.readouterr().out


def test_a_training_that_fails_is_not_a_speed() -> None:
    with pytest.raises(RuntimeError, match="no_such_agent"):
        trl.train(["-m", "agents.no_such_agent"])


@pytest.mark.slow
def test_both_sides_train_and_the_products_are_faster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    monkeypatch.setattr(trl, "UPDATES", 6)
    trl.run(1)
    printed = capsys.readouterr().out
    assert "reinforce, all weights" in printed and "RLOO of TRL" in printed and "(bar 2.5)" in printed
    share = float(printed.split("reinforce reaches ")[1].split()[0])
    assert 0 < share < 1
