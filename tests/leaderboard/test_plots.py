"""The figures."""

from pathlib import Path

import pytest

import klrl_envs
from klrl_envs.results.entry import Entry, digest_of_entries, merge
from klrl_envs.results.look import styles
from leaderboard import plots
from leaderboard.aggregate import aggregate
from leaderboard.close_up import close_ups
from leaderboard.plane import INSETS, draw_plane, free_place
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


def standing(name: str, kl: float, reward: float) -> Entry:
    """An agent on the grid, whose kl_coef is 8, with this KL and this expected reward."""
    objective = reward - 8 * kl
    return made(name, "klrl/GridNavigation-v0", [0.5], kl=kl, expected_reward=reward, objective=objective)


def test_a_crowd_is_four_that_stand_close_around_the_optimum():
    best = klrl_envs.optimum("klrl/GridNavigation-v0")
    apart = (0.3, 0.2, 0.1, -0.3)
    crowd = [
        standing(name, best.kl + kl, best.expected_reward - 5) for name, kl in zip("abcd", apart, strict=True)
    ]
    extent = ((0.0, 4.0), (-20.0, 80.0))
    (places, near), *closer = close_ups([standing("far", 0.1, 20.0), *crowd], best, extent)
    assert places == [1, 2, 3, 4]
    (left, right), (low, high) = near
    assert left < best.kl - 0.3 and best.kl + 0.3 < right, "all of them are within"
    assert low < best.expected_reward - 5 and best.expected_reward < high, "and the optimum"
    assert all(found == places for found, _ in closer)
    assert not list(close_ups(crowd[:3], best, extent)), "three can be told apart"
    assert not list(close_ups([], best, extent))


def test_nothing_is_enlarged_over_somebody_or_where_it_gets_no_larger():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    _, axes = pyplot.subplots()
    axes.set_xlim(0, 4)
    axes.set_ylim(0, 1)
    near = ((1.6, 2.4), (0.8, 0.95))
    assert free_place(axes, [(2.0, 0.9), (0.1, 0.3)], near) == INSETS[0]
    assert free_place(axes, [(2.0, 0.9), (3.0, 0.55)], near) == INSETS[1], "one stands in the first"
    assert free_place(axes, [(2.0, 0.9), (3.0, 0.3)], near) is None, "one stands in all"
    assert free_place(axes, [(2.0, 0.9)], ((1.0, 3.0), (0.8, 0.95))) is None, "it is as wide as the inset"
    pyplot.close()


def test_who_is_shown_enlarged_has_its_number_there_alone():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    best = klrl_envs.optimum("klrl/GridNavigation-v0")
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


def test_only_what_has_other_entries_is_drawn_again(tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plots, "FOLDER", tmp_path)
    monkeypatch.setattr(plots, "ENTRIES", tmp_path / "entries")

    def drawn(*words: str) -> list[str]:
        assert main(words) == 0
        return [Path(line).name for line in capsys.readouterr().out.split()]

    both = ["GridNavigation-v0.svg", "profiles.svg"]
    better().save(tmp_path / "entries" / "GridNavigation-v0--better.json")
    assert drawn() == both and not drawn()
    entry().save(tmp_path / "entries" / "GridNavigation-v0--toy.json")
    assert drawn() == both and not drawn()
    assert drawn("--all") == both
    (tmp_path / "figures" / "GridNavigation-v0.png").unlink()
    assert drawn() == ["GridNavigation-v0.svg"] and (tmp_path / "figures" / "GridNavigation-v0.png").exists()


def test_plots_take_no_arguments_of_others():
    with pytest.raises(SystemExit):
        main(["--folder", "x"])
