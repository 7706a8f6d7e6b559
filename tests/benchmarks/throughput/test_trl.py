"""Training speed against TRL's: what is measured, and what is said without TRL."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.throughput import trl
from klrl_envs.reference.nano import NanoConfig


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


def test_the_products_alone_are_those_of_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts once, nothing allocated in between: as many rows as the layers of a training read."""
    rows: list[int] = []
    product, ones, timed = torch.mm, torch.ones, [False]
    monkeypatch.setattr(torch, "mm", lambda x, y, out: rows.append(len(x)) or product(x, y, out=out))
    monkeypatch.setattr(torch, "ones", lambda *size, **more: timed[0] or ones(*size, **more))
    clock = trl.time.perf_counter
    monkeypatch.setattr(trl.time, "perf_counter", lambda: (timed.__setitem__(0, not timed[0]), clock())[1])
    assert trl.products_round() > 0
    maps, shared, read = 4 * NanoConfig().layers, 16 * 9, 16 * 9 + 64 * 23
    assert [rows.count(count) for count in (shared, read)] == [maps, 3 * maps]
    assert rows.count(16) == 1 and rows.count(64 * 24) == 3


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
