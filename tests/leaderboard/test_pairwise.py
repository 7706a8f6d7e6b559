"""Which of two agents wins."""

import pytest

from leaderboard.pairwise import compare_pairs
from tests.leaderboard.entries import made

GRID, KEYWORDS = "klrl/GridNavigation-v0", "klrl/Keywords-v0"
ENTRIES = [
    made("ours", GRID, [0.5, 0.6, 0.7]),
    made("ours", KEYWORDS, [0.1, 0.2, 0.3]),
    made("theirs", GRID, [0.1, 0.2, 0.3]),
    made("theirs", KEYWORDS, [0.2, 0.2, 0.9]),
    made("others", KEYWORDS, [0.4, 0.4, 0.4]),
]


def test_chances_are_of_each_shared_environment_and_of_their_mean():
    pairs = compare_pairs(ENTRIES, ["ours", "theirs", "others"])
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("ours", "theirs"),
        ("ours", "others"),
        ("theirs", "others"),
    ]
    both = pairs[0]
    # on Keywords .1 wins no pair, .2 ties with two, .3 beats two
    assert {each.env_id: each.chance for each in both.environments} == {
        GRID: 1.0,
        KEYWORDS: pytest.approx(3 / 9, abs=1e-6),
    }
    assert both.chance == pytest.approx(2 / 3, abs=1e-6)
    assert both.interval[0] < 0.5 < both.chance < both.interval[1] < 1
    assert [each.env_id for each in pairs[1].environments] == [KEYWORDS]
    assert pairs[1].interval == pairs[1].environments[0].interval


def test_a_pair_is_the_same_seen_from_the_other_side():
    forward = compare_pairs(ENTRIES, ["ours", "theirs"])[0].reversed()
    (backward,) = compare_pairs(ENTRIES, ["theirs", "ours"])
    assert (forward.first, forward.second) == (backward.first, backward.second) == ("theirs", "ours")
    assert forward.chance == pytest.approx(backward.chance)
    assert forward.interval == pytest.approx(backward.interval, abs=2e-6)
    for one, other in zip(forward.environments, backward.environments):
        assert one.interval == pytest.approx(other.interval, abs=2e-6)


def test_agents_that_never_meet_make_no_pair():
    assert compare_pairs([ENTRIES[0], ENTRIES[4]], ["ours", "others"]) == ()
