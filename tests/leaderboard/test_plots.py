"""The figures."""

from pathlib import Path

import pytest

import klrl_envs
from klrl_envs.results.entry import digest_of_entries, merge
from klrl_envs.results.look import styles
from leaderboard.aggregate import aggregate
from leaderboard.plots import draw, draw_all, main
from tests.leaderboard.entries import better, made
from tests.results.records import COMMAND, entry, record


def test_a_figure_carries_the_digest_of_its_entries(tmp_path: Path):
    pytest.importorskip("matplotlib")
    agent = {"name": "far", "url": "https://example.org/far", "license": "MIT"}
    far = merge(
        [
            record(
                agent=agent,
                score=-3.0,
                score_interval=[-3.1, -2.9],
                kl=40.0,
                expected_reward=50.0,
                objective=-270.0,
            )
        ],
        command=COMMAND,
        tier="submitted",
        score_interval=(-3.1, -2.9),
    )
    entries = [better(), entry(), far]
    optimum = klrl_envs.optimum("klrl/GridNavigation-v0")
    path = draw(entries, optimum, styles(["toy", "better", "far"]), tmp_path)
    text = path.read_bytes()
    assert digest_of_entries(entries).encode() in text and path.with_suffix(".png").stat().st_size > 10_000
    assert draw(entries, optimum, styles(["toy", "better", "far"]), tmp_path).read_bytes() == text


def test_the_profiles_carry_the_digest_of_all_entries(tmp_path: Path):
    pytest.importorskip("matplotlib")
    entries = [
        made(name, "klrl/GridNavigation-v0", [level, level + 0.1])
        for name, level in (("a", 0.2), ("b", 0.4), ("c", -3.0), ("d", 0.9))
    ]
    aggregated = aggregate(entries)
    look = styles(row.agent for row in aggregated.rows)
    path = draw_all(entries, aggregated, look, tmp_path)
    text = path.read_bytes()
    assert path == tmp_path / "figures" / "profiles.svg"
    assert digest_of_entries(entries).encode() in text and path.with_suffix(".png").stat().st_size > 10_000
    assert all(look[name][0].lower().encode() in text.lower() for name in "abcd")
    assert draw_all(entries, aggregated, look, tmp_path).read_bytes() == text


def test_plots_take_no_arguments_of_others():
    with pytest.raises(SystemExit):
        main(["--folder", "x"])
