"""Colours and shapes of agents."""

from benchmarks.suites import SUITES
from klrl_envs.results.look import COLOURS, FREE, KNOWN, SHAPES, styles


def test_the_agents_of_this_repository_keep_their_look_whoever_comes():
    before = styles(["ppo", "sb3_ppo", "visitor"])
    after = styles(["aardvark", "newcomer", "posterior", "ppo", "sb3_ppo", "visitor", "zebra"])
    assert {name: after[name] for name in before} == before
    assert after["ppo"] == KNOWN["ppo"] and after["posterior"] == KNOWN["posterior"]


def test_known_looks_are_distinct_and_nobody_elses():
    assert len(set(KNOWN.values())) == len(KNOWN)
    assert not {colour for colour, _ in KNOWN.values()} & set(COLOURS)


def test_others_have_a_look_by_their_name_and_share_none_while_some_are_free():
    names = [f"agent-{number}" for number in range(len(FREE))]
    dealt = styles([*names, "ppo"])
    assert len(set(dealt.values())) == len(names) + 1
    assert styles(["agent-3"])["agent-3"] == styles(["agent-3", "ppo", "reinforce"])["agent-3"] in FREE
    crowded = styles([*names, "one-more"])
    assert crowded["one-more"][0] in COLOURS and crowded["one-more"][1] in SHAPES


def test_two_whose_hashes_meet_are_told_apart():
    alone = {name: styles([name])[name] for name in (f"n{number}" for number in range(60))}
    first, second = next(
        (one, other) for one in alone for other in alone if one < other and alone[one] == alone[other]
    )
    both = styles([first, second])
    assert both[first] == alone[first] and both[second] != alone[second]


def test_every_agent_of_this_repository_has_its_own_look():
    assert {each.agent for each in SUITES["core"]} <= set(KNOWN)
