"""The rules that runs and entries are held to."""

import pytest

from klrl_envs.registry import find_row, make_task
from klrl_envs.results.rules import check_rules, check_run, task_sha256
from tests.results.records import entry, record


def test_a_run_with_settings_is_checked_against_them():
    check_run(record(env_kwargs={"kl_coef": 4.0}, kl_coef=4.0, kl=4.0))
    with pytest.raises(ValueError, match=r"kl_coef must be the set 4\.0"):
        check_run(record(env_kwargs={"kl_coef": 4.0}))
    check_run(record(env_kwargs={"horizon": 3}))
    with pytest.raises(ValueError, match="tokens; klrl/GridNavigation-v0 allows"):
        check_run(record(env_kwargs={"horizon": 3}, tokens=10_000_000))


def test_the_rules_are_those_of_the_registry():
    row = find_row("klrl/GridNavigation-v0")
    kl_coef, budget = row.kl_coef, row.token_budget
    check_rules(entry(kl_coef=kl_coef, tokens=budget + budget // 200))
    with pytest.raises(ValueError, match="tokens; klrl/GridNavigation-v0 allows"):
        check_rules(entry(kl_coef=kl_coef, tokens=budget + budget // 50))
    with pytest.raises(ValueError, match="kl_coef must be the declared"):
        check_rules(entry(kl_coef=kl_coef * 1.1))
    with pytest.raises(ValueError, match="env_kwargs must be empty"):
        check_rules(entry(kl_coef=kl_coef, env_kwargs={"horizon": 3}))
    with pytest.raises(ValueError, match="env_id must be one of"):
        check_rules(entry(env_id="klrl/Unknown-v0"))


def test_an_entry_is_of_commits_that_can_be_checked_out():
    check_rules(entry())
    for commit in ("unknown", f"{'0' * 40}-dirty"):
        with pytest.raises(ValueError, match="commit must be the 40 digits"):
            check_rules(entry(commit=commit))


def test_an_entry_says_where_its_code_is_and_under_which_licence():
    check_rules(entry(agent={"name": "toy", "url": "https://example.org/toy.git", "license": "MIT"}))
    for agent, message in (
        ({"name": "toy", "license": "MIT"}, "agent.url must be that of the git repository"),
        ({"name": "toy", "url": "https://example.org/toy.git"}, "agent.license must be"),
    ):
        with pytest.raises(ValueError, match=message):
            check_rules(entry(agent=agent))


def test_the_task_is_that_of_the_evaluation_prompts():
    assert task_sha256("klrl/GridNavigation-v0") == make_task("GridNavigation-v0").fingerprint
    with_prompts = make_task("Sentiment-v0", prompts="evaluation", horizon=16)
    assert task_sha256("klrl/Sentiment-v0", '{"horizon": 16}') == with_prompts.fingerprint
