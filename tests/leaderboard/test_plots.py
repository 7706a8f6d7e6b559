"""The figures."""

from pathlib import Path

import pytest

import klrl_envs
from klrl_envs.results.entry import Entry, digest_of_entries, merge
from klrl_envs.results.look import styles
from leaderboard.aggregate import aggregate
from leaderboard.plane import crowded, draw_plane, free, surroundings
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


def test_a_crowd_is_four_that_stand_close_around_the_optimum():
    crowd, best, extent = [(1.9, 0.8), (2.0, 0.85), (2.1, 0.9), (2.2, 0.8)], (2.0, 0.9), (4.0, 1.0)
    assert crowded(crowd, best, extent) == [0, 1, 2, 3]
    assert crowded([(0.0, 0.1), *crowd], best, extent) == [1, 2, 3, 4]
    assert crowded(crowd[:3], best, extent) == [], "three can be told apart"
    assert crowded([], best, extent) == []
    assert surroundings([(1.0, 4.0), (2.0, 4.0)]) == ((0.85, 2.15), (3.99, 4.01))


def test_nothing_is_enlarged_over_somebody():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    _, axes = pyplot.subplots()
    axes.set_xlim(0, 4)
    axes.set_ylim(0, 1)
    assert free(axes, [(2.0, 0.9), (0.1, 0.3)]) and not free(axes, [(2.0, 0.9), (3.0, 0.3)])
    pyplot.close()


def test_who_is_shown_enlarged_has_its_number_there_alone():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    best = klrl_envs.optimum("klrl/GridNavigation-v0")

    def standing(name: str, kl: float, reward: float) -> Entry:
        objective = reward - best.kl_coef * kl
        return made(name, best.env_id, [0.5], kl=kl, expected_reward=reward, objective=objective)

    entries = [standing(name, best.kl, best.expected_reward) for name in "abcd"]
    entries.append(standing("far", 0.1, best.reference_value))
    _, axes = pyplot.subplots()
    draw_plane(axes, entries, best, styles([*"abcd", "far"]))
    (inset,) = axes.child_axes
    numbers = [
        [text.get_text() for text in each.texts if text.get_text().isdigit()] for each in (axes, inset)
    ]
    assert numbers == [["5"], ["1", "2", "3", "4"]]
    pyplot.close()


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
