"""Charts as geometry: what is drawn lies where its numbers say."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from klrl_envs.results.entry import Entry
from klrl_envs.results.look import styles
from leaderboard.aggregate import aggregate
from leaderboard.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Plane,
    bars_of,
    curves_of,
    path_of,
    plane_of,
    profiles_of,
)
from leaderboard.exhibits import Exhibit, SeedCurve
from leaderboard.profiles import profiled
from tests.leaderboard.entries import board_of, card, made

GRID = "klrl/GridNavigation-v0"


def plane(*names_and_changes: tuple[str, dict[str, Any]]) -> Plane:
    entries = [made(name, GRID, [0.5, 0.6], **changes) for name, changes in names_and_changes]
    board = board_of(*entries, cards={GRID: card()})
    return plane_of(card(), board.entries, board.style, board.facets)


def test_an_axis_is_straight_and_its_ticks_are_round() -> None:
    axis = Axis("x", -2.0, 8.0, 100.0, 200.0)
    assert (axis(-2.0), axis(8.0), axis(3.0)) == (100.0, 200.0, 150.0)
    assert axis.ticks == [(100.0, "-2"), (120.0, "0"), (140.0, "2"), (160.0, "4"), (180.0, "6"), (200.0, "8")]
    thousands = Axis("tokens", 0, 2_000_000, 0.0, 100.0).ticks
    assert (50.0, "1M") in thousands and (25.0, "500k") in thousands


def test_the_optimum_lies_on_the_frontier_and_the_reference_at_its_end() -> None:
    shown = plane(("ours", {}))
    places = re.findall(r"([-\d.]+),([-\d.]+)", shown.frontier)
    reference, optimum = shown.landmarks
    assert tuple(map(float, places[0])) == pytest.approx(reference.at, abs=0.11)
    assert min(
        abs(float(x) - optimum.at[0]) + abs(float(y) - optimum.at[1]) for x, y in places
    ) < 0.3  # fmt: skip
    rising = [float(y) for _, y in places]
    assert all(later <= earlier for earlier, later in pairwise(rising)), "reward grows with KL"
    assert f"{card().expected_reward:.1f}" in optimum.tip
    assert shown.on_frontier and all(LEFT <= mark.at[0] <= RIGHT for mark in shown.on_frontier)


def test_an_agent_lies_where_its_means_say_and_tells_them() -> None:
    [mark] = plane(("ours", {})).agents
    shown = plane(("ours", {}))
    assert mark.at == (shown.x(2.0), shown.y(66.0)) and mark.seeds == (mark.at, mark.at)
    assert mark.tip == ("1. ours: score 0.550 [0.500, 0.600], expected reward 66.0 at 2.00 nats, seeds: 2")
    assert mark.facets["kind"] == ["learner"] and mark.number == 1


def test_the_lines_through_a_mean_are_students_intervals_over_its_seeds() -> None:
    entry = made("ours", GRID, [0.5, 0.6])
    seeds = (entry.seeds[0], entry.seeds[1].model_copy(update={"kl": 2.2, "expected_reward": 70.0}))
    board = board_of(entry.model_copy(update={"seeds": seeds}), cards={GRID: card()})
    shown = plane_of(card(), board.entries, board.style, board.facets)
    [mark] = shown.agents
    places = [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+),([-\d.]+)", mark.spread)]
    # of two numbers: half their distance times Student's quantile of one degree of freedom
    wide, high = 12.706 * 0.1, 12.706 * 2.0
    expected = [(2.1 - wide, 68.0), (2.1 + wide, 68.0), (2.1, 68.0 - high), (2.1, 68.0 + high)]
    for place, (kl, reward) in zip(places, expected, strict=True):
        assert place == pytest.approx((shown.x(kl), shown.y(reward)), abs=0.1)
    assert plane(("ours", {})).agents[0].spread, "two seeds that agree have one of length zero"
    alone = entry.model_copy(update={"seeds": entry.seeds[:1]})
    board = board_of(alone, cards={GRID: card()})
    assert not plane_of(card(), board.entries, board.style, board.facets).agents[0].spread


def test_an_agent_far_away_stands_at_the_edge_and_says_so() -> None:
    shown = plane(("far", {"kl": 500.0, "objective": -3934.0, "regret": 4015.0}))
    [mark] = shown.agents
    assert LEFT < mark.at[0] < RIGHT and TOP < mark.at[1] < BOTTOM
    assert "at 500 nats, beyond the edge" in mark.tip


def test_a_crowd_around_the_optimum_is_shown_once_more_enlarged() -> None:
    best = card()

    def near(name: str, kl: float) -> Entry:
        """An agent close to the optimum, whose second seed is a little farther away."""
        entry, reward = made(name, GRID, [0.5, 0.6]), best.expected_reward - 3.0
        first, second = (
            seed.model_copy(update={"kl": best.kl + each, "expected_reward": reward})
            for seed, each in zip(entry.seeds, (kl, 2 * kl), strict=True)
        )
        return entry.model_copy(update={"seeds": (first, second)})

    entries = [near(name, kl) for name, kl in zip("abcd", (0.1, 0.07, -0.05, -0.1), strict=True)]
    board = board_of(*entries, made("far", GRID, [0.1]), cards={GRID: best})
    shown = plane_of(best, board.entries, board.style, board.facets)
    assert shown.near is not None and len(shown.agents) == 5
    close = [mark for mark in shown.agents if "far" not in mark.tip]
    assert [(mark.number, mark.tip) for mark in shown.near.agents] == [
        (mark.number, mark.tip) for mark in close
    ]
    assert [mark.shape for mark in shown.near.landmarks] == ["*"], "the optimum is there, pi0 is not"
    places = [mark.at for mark in (*shown.near.landmarks, *shown.near.on_frontier)]
    places += [at for mark in shown.near.agents for at in (mark.at, *mark.seeds)]
    assert len(places) >= 4 * 3 + 1
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in places)
    assert len({mark.at for mark in shown.near.agents}) == 4
    alone = board_of(*entries[:3], cards={GRID: best})
    assert plane_of(best, alone.entries, alone.style, alone.facets).near is None


def test_a_law_is_drawn_as_pairs_of_bars() -> None:
    law = card().law
    drawn = bars_of(law)
    assert len(drawn.bars) == len(law.rewards)
    for bar, before, after in zip(drawn.bars, law.reference, law.optimal):
        (left, top, wide, high), (second, _, _, higher) = bar.reference, bar.optimal
        assert top + high == pytest.approx(BOTTOM, abs=0.11) and second == pytest.approx(
            left + wide, abs=0.11
        )
        assert (high > higher) == (before > after) or abs(high - higher) < 0.2
        assert left >= LEFT and second + wide <= RIGHT + 0.11
    edges = [bar.optimal[0] + bar.optimal[2] for bar in drawn.bars]
    assert all(bar.reference[0] >= edge - 0.11 for edge, bar in zip(edges, drawn.bars[1:])), "none overlap"


def test_profiles_begin_at_one_and_curves_end_where_their_runs_did() -> None:
    board = board_of(made("ours", GRID, [0.6, 0.7]), made("theirs", GRID, [0.2, 0.3]))
    shown = profiles_of(profiled(board.entries, board.aggregate), board.style)
    assert shown is not None and [line.name for line in shown.lines] == ["ours: 0.650", "theirs: 0.250"]
    assert shown.lines[0].path.startswith(path_of([(shown.x(shown.x.low), shown.y(1.0))]))
    assert profiles_of(profiled([], board_of().aggregate), {}) is None


def test_profiles_are_of_the_exact_environments_where_more_agents_have_these() -> None:
    sentiment = "klrl/Sentiment-v0"
    exact = [made("ours", GRID, [0.6, 0.7]), made("theirs", GRID, [0.2, 0.3])]
    floors = [made("reference", env_id, [0.0, 0.0]) for env_id in (GRID, sentiment)]
    entries = [*exact, made("ours", sentiment, [0.5, 0.5]), *floors]
    shown = profiled(entries, aggregate(entries))
    assert {each.env_id for each in shown.entries} == {GRID} and shown.group == "exact environments"
    assert {row.agent for row in shown.aggregate.ranked} >= {"ours", "theirs"}
    entries.append(made("theirs", sentiment, [0.1, 0.1]))
    shown = profiled(entries, aggregate(entries))
    assert len(shown.entries) == len(entries) and shown.group == "environments"


@pytest.mark.parametrize("scored", [True, False])
def test_curves_show_scores_or_rewards(scored: bool) -> None:
    curve = SeedCurve(
        seed=3, spent=200, tokens=(100, 200), score=(0.25, None) if scored else None,
        expected_reward=(2.0, 4.0), kl=(None, 1.0),
    )  # fmt: skip
    exhibit = Exhibit(
        env_id=GRID, agent="ours", task_sha256="a" * 64, approximate=False, curves=(curve,), texts_seed=None,
        texts=(),
    )  # fmt: skip
    shown = curves_of(exhibit, styles(["ours"])["ours"][0])
    assert shown is not None
    expected = "seed 3: 0.250 after 100 tokens" if scored else "seed 3: 4.00 after 200 tokens"
    assert [line.name for line in shown.lines] == [expected]
    assert (shown.level is not None) == scored
    assert curves_of(exhibit.model_copy(update={"curves": ()}), "#000") is None
