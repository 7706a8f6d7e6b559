"""What came out of a suite: means over the seeds, and the table."""

import pytest
from rich.console import Console

from klrl_envs.results.outcome import Outcome, outcomes_of, summary_table
from klrl_envs.results.statistics import mean_interval
from tests.results.records import record


def shown(found: list[Outcome]) -> str:
    """The table as it is printed."""
    console = Console(width=160)
    with console.capture() as capture:
        console.print(summary_table(found))
    return capture.get()


def test_records_are_told_apart_by_environment_arguments_and_agent():
    other = {"name": "other", "url": "https://example.org", "license": "MIT"}
    found = outcomes_of(
        [
            record(seed=1, score=0.52),
            record(env_kwargs={"horizon": 3}),
            record(seed=0, score=0.48),
            record(agent=other),
        ]
    )
    assert [(each.label, each.agent, each.seeds) for each in found] == [
        ("GridNavigation-v0", "toy", "0, 1"),
        ("GridNavigation-v0 horizon=3", "toy", "0"),
        ("GridNavigation-v0", "other", "0"),
    ]
    assert found[0].score == pytest.approx(0.5)
    assert found[0].interval == pytest.approx(mean_interval([0.48, 0.52], 0.0))
    assert found[1].interval == (0.45, 0.55), "a single seed's is its own"
    assert "other" in shown(found) and "toy" in shown(found) and "toy" not in shown(found[:2])


def test_the_table_says_what_is_not_final():
    whole = [record(seed=seed, score=0.5) for seed in range(5)]
    assert "not final" not in shown(outcomes_of(whole))
    assert "not final" in shown(outcomes_of(whole[:4]))
    assert "not final" not in shown(outcomes_of([record(env_kwargs={"horizon": 3})])), "it makes no entry"
    nothing = {"score": None, "score_interval": None}
    assert "none (J* = J(pi0))" in shown(outcomes_of([record(**nothing)]))
