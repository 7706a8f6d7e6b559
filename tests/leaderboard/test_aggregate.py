"""Agents over all environments: who ranks, where, and by which mean."""

import pytest

from klrl_envs.results.entry import load_entries
from leaderboard.aggregate import Aggregate, aggregate, is_final
from leaderboard.folder import ENTRIES
from tests.leaderboard.entries import made

GRID, KEYWORDS, SENTIMENT = "klrl/GridNavigation-v0", "klrl/Keywords-v0", "klrl/Sentiment-v0"


def row(aggregated: Aggregate, agent: str):
    return next(row for row in aggregated.rows if row.agent == agent)


def board(agent: str, level: float, **changes):
    """An agent on two environments, whose mean over them is `level`."""
    return [
        made(agent, GRID, [level + 0.1] * 2, **changes),
        made(agent, KEYWORDS, [level - 0.1] * 2, **changes),
    ]


def test_todays_headline_is_in_the_order_of_means_over_environments():
    """An interquartile mean of all scores drops the three Sentiment runs and puts sb3_ppo first, at .985."""
    names = ["ppo", "reinforce", "sb3_ppo"]
    entries = [entry for entry in load_entries(ENTRIES) if entry.env_id in (GRID, KEYWORDS, SENTIMENT)]
    rows = [row for row in aggregate(entries).rows if row.agent in names]
    assert [row.agent for row in rows] == names
    assert [row.score for row in rows] == pytest.approx([0.826, 0.765, 0.742], abs=0.02)


def test_environments_weigh_alike_and_the_lowest_stands_beside():
    entries = [made("ours", GRID, [0.9] * 5), made("ours", SENTIMENT, [0.2, 0.3, 0.4])]
    found = row(aggregate(entries, shared_error=lambda env_id, score: 0.0), "ours")
    assert found.score == pytest.approx(0.6) and found.environments == (GRID, SENTIMENT)
    assert (found.lowest, found.lowest_on) == (pytest.approx(0.3), SENTIMENT)
    half = 4.302653 * 0.1 / 3**0.5 / 2  # all of the spread is that of three seeds
    assert found.score_interval == pytest.approx((0.6 - half, 0.6 + half), abs=1e-5)


def test_what_seeds_share_is_asked_for_each_environment_at_its_mean():
    asked: list[tuple[str, float]] = []

    def shared_error(env_id: str, score: float) -> float:
        asked.append((env_id, round(score, 9)))
        return 0.1

    aggregated = aggregate(
        [made("ours", GRID, [0.5, 0.5]), made("ours", KEYWORDS, [0.7, 0.7])], shared_error=shared_error
    )
    assert asked == [(GRID, 0.5), (KEYWORDS, 0.7)]
    half = 1.959964 * 0.1 * 2**0.5 / 2
    assert row(aggregated, "ours").score_interval == pytest.approx((0.6 - half, 0.6 + half), abs=1e-5)


def test_only_learners_with_every_environment_rank():
    entries = [
        *board("good", 0.6),
        *board("fair", 0.5),
        *board("alike", 0.5),
        *board("floor", 0.9, kind="bound"),
        made("partial", GRID, [0.99, 0.99]),
    ]
    aggregated = aggregate(entries)
    assert [(row.agent, row.rank) for row in aggregated.rows] == [
        ("floor", None),
        ("good", 1),
        ("alike", 2),
        ("fair", 2),
        ("partial", None),
    ]
    assert [row.agent for row in aggregated.ranked] == ["good", "alike", "fair"]
    assert not row(aggregated, "partial").complete and row(aggregated, "floor").complete


def test_what_was_not_reproduced_pushes_nothing_down():
    entries = [
        *board("claimed", 0.7),
        *board("first", 0.6, tier="reproduced"),
        *board("checked", 0.5, tier="verified"),
        *board("second", 0.4, tier="reproduced"),
    ]
    ranks = {row.agent: (row.rank, row.trusted) for row in aggregate(entries).rows}
    assert ranks == {
        "claimed": (1, False),
        "first": (1, True),
        "checked": (3, False),
        "second": (2, True),
    }


def test_the_weakest_tier_counts():
    entries = [
        made("ours", GRID, [0.5], tier="reproduced"),
        made("ours", KEYWORDS, [0.5], tier="verified"),
        made("ours", SENTIMENT, [0.5], tier="submitted"),
    ]
    assert row(aggregate(entries), "ours").tier == "submitted"
    assert row(aggregate(entries[:2]), "ours").tier == "verified"


def test_fewer_seeds_than_declared_are_not_final():
    assert is_final(made("ours", GRID, [0.5] * 5)) and is_final(made("ours", SENTIMENT, [0.5] * 3))
    assert not is_final(made("ours", GRID, [0.5] * 4)) and not is_final(made("ours", SENTIMENT, [0.5] * 2))
    both = [made("ours", GRID, [0.5] * 4), made("ours", SENTIMENT, [0.5] * 3)]
    assert not row(aggregate(both), "ours").final
    single = row(aggregate([made("ours", GRID, [0.5])]), "ours")
    assert single.score_interval is None and single.rank == 1


def test_environments_where_nothing_can_be_gained_are_left_out_and_named():
    flat = "klrl/DiagnosticZeroReward-v0"
    entries = [made("ours", GRID, [0.5] * 5), made("theirs", flat, [None] * 5)]
    aggregated = aggregate([*entries, made("ours", flat, [None] * 5)])
    assert aggregated.environments == (GRID,) and aggregated.without_score == (flat,)
    assert [(row.agent, row.rank, row.score) for row in aggregated.rows] == [("ours", 1, 0.5)]


def test_a_group_may_be_a_tag_of_the_registry():
    entries = [*board("both", 0.5), made("both", SENTIMENT, [0.1] * 3), *board("exact-only", 0.6)]
    assert [row.rank for row in aggregate(entries).rows] == [1, None]
    exact = aggregate(entries, tag="exact")
    assert exact.environments == (GRID, KEYWORDS)
    assert [(row.agent, row.rank) for row in exact.rows] == [("exact-only", 1), ("both", 2)]
    with pytest.raises(ValueError, match=r"tag must be one of .*exact.*, not 'easy'"):
        aggregate(entries, tag="easy")


def test_who_enters_on_another_environment_takes_no_rank_away():
    """The group is where the reference stands; what lies outside of it moves nobody's mean."""
    grid, haiku = "klrl/GridNavigation-v0", "klrl/Haiku-v0"
    board = [made("reference", grid, [0.0] * 5, kind="bound"), made("ours", grid, [0.6] * 5)]
    before = aggregate(board)
    after = aggregate([*board, made("ours", haiku, [0.1] * 5), made("stranger", haiku, [0.2] * 2)])
    assert after.environments == before.environments == (grid,)
    for found in (before, after):
        (row,) = [row for row in found.rows if row.agent == "ours"]
        assert row.rank == 1 and row.score == 0.6
    (stranger,) = [row for row in after.rows if row.agent == "stranger"]
    assert stranger.rank is None and not stranger.complete and stranger.environments == (haiku,)
