"""The guard: what ties the numbers of records and entries together, one by one and by hypothesis.

What stands free, as nothing says what it must be: seconds, hardware, versions, commit, date, tokens within
the budget, the evaluation's seed and freshness, its episodes within what the errors allow; an error that
only shrinks, but for the regret's; reward and kl together along the objective's line.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klrl_envs import evaluate_exactly
from klrl_envs.evaluation.impossible import UNSEEN
from klrl_envs.registry import find_row
from klrl_envs.results.chance import allowed_errors
from klrl_envs.results.frontier import Limits, limits_of
from klrl_envs.results.guard import check_record, problems_of_record
from klrl_envs.results.record import OLDER_SLACK, RunRecord
from klrl_envs.results.rules import task_sha256
from klrl_envs.results.ties import Ties
from tests.results.guarded import GRID, KEYWORDS, OLDER, SENTIMENT, Between, fresh, fresh_record, refusal
from tests.results.records import EVALUATION, fields

pytestmark = pytest.mark.slow

MODES = "klrl/DiagnosticModes-v0"
NO_ERRORS = dict.fromkeys(EVALUATION["errors"], 0.0)


@cache
def exact(env_id: str = MODES) -> dict[str, Any]:
    """A record of a policy near the optimum, computed over all states."""
    found = evaluate_exactly(Between(env_id, 0.8), env_id)
    assert found.score is not None
    return fields(
        env_id=env_id, kl_coef=found.kl_coef, task_sha256=found.task_sha256, score=found.score,
        score_interval=[found.score] * 2, objective=found.objective, expected_reward=found.expected_reward,
        kl=found.kl, regret=found.regret, evaluation={**EVALUATION, "exact": True, "errors": NO_ERRORS},
    )  # fmt: skip


def said(data: dict[str, Any], **changes: Any) -> str:
    """What the guard says of a record with changes; the evaluation's by their names with `errors_` before."""
    evaluation = dict(data["evaluation"])
    evaluation["errors"] = dict(evaluation["errors"])
    for name in [each for each in changes if each in evaluation and each != "seed"]:
        evaluation[name] = changes.pop(name)
    for name in [each for each in changes if each.startswith("errors_")]:
        evaluation["errors"][name.removeprefix("errors_")] = changes.pop(name)
    return "; ".join(
        problems_of_record(RunRecord.model_validate({**data, "evaluation": evaluation, **changes}))
    )


def sampled(env_id: str = KEYWORDS) -> dict[str, Any]:
    """A fresh record as JSON has it."""
    return json.loads(fresh_record(env_id, 0).to_json())


def refusal_of(data: dict[str, Any], **changes: Any) -> str:
    """Why there is no such record at all."""
    with pytest.raises(ValueError) as caught:
        RunRecord.model_validate({**data, **changes})
    return str(caught.value)


@pytest.mark.parametrize("env_id", [GRID, KEYWORDS, SENTIMENT])
def test_what_was_measured_passes(env_id: str):
    check_record(fresh_record(env_id, 0))
    assert said(exact()) == "" and said(exact(GRID)) == ""


def test_an_exact_evaluation_leaves_no_room():
    data = exact()
    assert "score_interval must be" in said(data, score_interval=[data["score"] - 0.01, data["score"] + 0.01])
    assert "errors.kl must be at most 0, where evaluation.exact, not 0.01" in said(data, errors_kl=0.01)
    assert "is far from expected_reward - kl_coef kl" in refusal_of(data, kl=data["kl"] + 1e-4)
    assert "log_probs must be 'checked' where exact" in said(data, log_probs="self-reported")


def test_no_point_is_above_the_frontier():
    limits = limits_of(GRID)
    best = limits.optimum
    own, *others = limits.edges
    assert (own.kl_coef, own.value) == (best.kl_coef, best.value) and len(others) == 6
    data = exact(GRID)
    # the objective stays, but the KL that it is said to cost is too little for the reward
    for step, fails in ((-16.0, True), (-4.0, True), (-0.5, False), (0.5, False)):
        reward = data["expected_reward"] + step
        kl = (reward - data["objective"]) / data["kl_coef"]
        told = said(data, expected_reward=reward, kl=kl)
        assert any(reward - edge.kl_coef * kl > edge.value + 1e-3 for edge in limits.edges) == fails
        assert (f"expected_reward {reward} at kl {kl} nats is above the frontier" in told) == fails
        assert fails or told == ""


def test_without_kl_the_reward_is_that_of_the_reference():
    best = limits_of(MODES).optimum
    gap = best.value - best.reference_value
    there = dict(score=0.0, score_interval=[0.0, 0.0], kl=0.0, regret=gap, objective=best.reference_value)
    data = {**exact(), **there, "expected_reward": best.reference_value}
    assert said(data) == ""
    # lower than J(pi0) by little enough for the slack of older records to hide it from all but this
    slack = 2 * OLDER_SLACK * best.value
    limits = dataclasses.replace(
        limits_of(MODES), optimum=dataclasses.replace(best, reference_value=best.reference_value + slack)
    )
    seed = RunRecord.model_validate({**data, "schema_version": 1, "evaluation": None})
    told = "; ".join(Ties(seed, seed.kl_coef, limits).contradictions())
    assert "which kl 0.0 nats does not allow" in told


def test_rewards_lie_in_their_range_and_kl_and_regret_above_0():
    data = sampled()
    assert "expected_reward must lie in [0.0, 1.0]" in said(data, expected_reward=1.5, kl=35.0)
    assert "kl must be at least 0 beyond its error, not -1.0" in said(data, kl=-1.0, errors_difference=0.04)
    told = said(data, regret=-0.01, score=1.05, score_interval=[0.9, 1.2])
    assert "regret must be at least 0 beyond its error" in told and "objective must be J* - regret" in told


def test_errors_are_tied_to_each_other():
    data = sampled()
    errors = data["evaluation"]["errors"]
    assert "errors.regret must be errors.objective" in said(data, errors_regret=2 * errors["regret"])
    assert "errors.kl must be at most" in said(data, errors_kl=1.0)
    assert "by the range of the reward, not 0.1" in said(data, errors_expected_reward=0.1, errors_kl=2.5)
    whole = {f"errors_{name}": 1000 * error for name, error in errors.items()}
    told = said(data, **whole)
    for name in ("errors.expected_reward", "errors.difference", "errors.objective", "score_interval"):
        assert f"{name} must be" in told
    neural = sampled(SENTIMENT)
    assert "errors.difference must be at most 0, where the objective" in said(neural, errors_difference=0.01)


def test_an_unresolved_interval_may_be_wider_but_not_narrower():
    data = sampled()
    lower, upper = data["score_interval"]
    wider, narrower = [lower - 0.1, upper + 0.1], [lower + 0.01, upper - 0.01]
    assert "score_interval must be [" in said(data, score_interval=wider)
    assert said(data, score_interval=wider, tail="unresolved") == ""
    assert "score_interval must reach down to" in said(data, score_interval=narrower, tail="unresolved")


def test_only_an_upper_bound_may_lie_above_the_optimum():
    best = limits_of(MODES).optimum
    gap = best.value - best.reference_value
    regret, kl = -gap / 10, 1.0
    data = {
        **exact(), "score": 1.1, "score_interval": [1.1, 1.1], "regret": regret, "kl": kl,
        "objective": best.value - regret, "expected_reward": best.value - regret + kl * best.kl_coef,
    }  # fmt: skip
    bounds = {"log_probs": "self-reported", "exact": False}
    assert said(data, bound="upper", **bounds) == ""
    with pytest.raises(ValueError, match="above 1 beyond its interval"):
        said(data, bound="lower", **bounds)
    assert "evaluation.bound must be 'exact'" in said(data, bound="upper")


def test_evaluations_are_of_the_tasks_prompts():
    data = sampled(SENTIMENT)
    assert "evaluation.prompts must be the 64 of the task, not 32" in said(data, prompts=32)
    assert "must be a multiple of the 64 prompts" in said(data, episodes=200)
    assert "evaluation.exact must be false" in said(
        data, exact=True, **{f"errors_{e}": 0.0 for e in NO_ERRORS}
    )


def test_a_curve_reaches_half_before_nine_tenths_and_both_within_the_tokens():
    assert said(exact(), tokens_to_half=500, tokens_to_nine_tenths=900) == ""
    assert "tokens_to_half must be at most the 1000 tokens" in said(exact(), tokens_to_half=1001)
    for half in (None, 901):
        told = said(exact(), tokens_to_half=half, tokens_to_nine_tenths=900)
        assert f"tokens_to_half must be at most tokens_to_nine_tenths = 900, not {half}" in told


def test_few_episodes_are_held_to_what_has_no_chance_in_it():
    interval = [exact()["score"] - 0.1, 1.0]
    evaluation = {**EVALUATION, "episodes": 8, "errors": NO_ERRORS, "tail": "unresolved"}
    data = {**exact(), "score_interval": interval, "evaluation": evaluation}
    assert allowed_errors(7) == math.inf and 5 < allowed_errors(255) < 5.2
    assert said(data, expected_reward=data["expected_reward"] + 0.1) == ""
    assert "score must be" in said(data, score=data["score"] - 0.001)


def test_arguments_lead_to_a_task_or_are_refused():
    for wrong, message in (
        ({"horizon": -1}, "horizon must be"),
        ({"wings": 2}, "unexpected keyword argument 'wings'"),
        ({"horizon": 10**12}, "env_kwargs.horizon must be at most 10,000 to be checked"),
    ):
        assert message in said(exact(), env_kwargs=wrong)
    assert "has no certified optimum" in said(sampled(SENTIMENT), env_kwargs={"horizon": 7})
    assert "task_sha256 is" in said(exact(), task_sha256="a" * 64)
    assert "date must be a day of the calendar" in said(exact(), date="2026-02-30")
    assert "tokens must be above 0 of a learner" in said(exact(), tokens=0)
    bound = {"name": "uniform", "url": "agents/uniform.py", "license": "MIT", "kind": "bound"}
    assert said(exact(), tokens=0, agent=bound) == ""
    assert "evaluation must be there from schema_version 2 on" in " ".join(
        problems_of_record(RunRecord.model_validate({**exact(), "evaluation": None}))
    )


# by hypothesis

ENTRIES: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"fresh {env_id}": lambda env_id=env_id: fresh(env_id) for env_id in (GRID, KEYWORDS, SENTIMENT)},
    **{f"older {data['env_id']} {data['agent']['name']}": lambda data=data: data for data in OLDER},
}
entries = st.sampled_from(list(ENTRIES)).map(lambda name: copy.deepcopy(ENTRIES[name]()))
signs = st.sampled_from([-1.0, 1.0])
powers = st.floats(0, 9).map(lambda power: 10.0**power)
OWN = ("score", "objective", "regret", "expected_reward", "kl")


def least(entry: dict[str, Any], seed: dict[str, Any], name: str) -> float:
    """A change of one of a seed's numbers that neither rounding nor chance explains."""
    limits: Limits = limits_of(entry["env_id"])
    best, beta = limits.optimum, entry["kl_coef"]
    assert best.gap is not None
    scale = max(abs(seed["expected_reward"]), beta * abs(seed["kl"]), abs(seed["regret"]), abs(best.value))
    rounding = 5e-6 * scale
    if name == "score":
        return rounding / best.gap
    if name in ("objective", "regret"):
        return rounding
    if seed["evaluation"] is None:
        own = rounding if not best.exact else 5 * OLDER_SLACK * scale
    else:
        evaluation = seed["evaluation"]
        chance = UNSEEN * limits.spread / evaluation["episodes"]
        if evaluation["exact"] or not best.exact:
            chance = 0.0
        own = rounding + 3 * chance + 15 * evaluation["errors"]["difference"]
    return own / beta if name == "kl" else own


def refused(entry: dict[str, Any]) -> str:
    """What is said of an altered entry, which must not be taken."""
    with tempfile.TemporaryDirectory() as folder:
        told = refusal(entry, Path(folder))
    assert told is not None, entry
    assert "\n" not in told
    return told


@settings(max_examples=250, deadline=None)
@given(entries, st.integers(0, 9), st.sampled_from(OWN), signs, powers)
def test_no_number_of_a_seed_can_be_altered_alone(
    entry: dict[str, Any], index: int, name: str, sign: float, power: float
):
    seed = entry["seeds"][index % len(entry["seeds"])]
    seed[name] += sign * power * least(entry, seed, name)
    assert name in refused(entry)


@settings(max_examples=60, deadline=None)
@given(entries, st.integers(0, 9), st.sampled_from([*OWN, "tokens", "seconds"]), st.sampled_from(
    [math.nan, math.inf, -math.inf, -1e300, 1e300, None, "0.5", True, [0.5], {}]))  # fmt: skip
def test_no_number_can_be_anything_else(entry: dict[str, Any], index: int, name: str, value: Any):
    if name == "seconds" and value == 1e300:
        return
    entry["seeds"][index % len(entry["seeds"])][name] = value
    refused(entry)


@settings(max_examples=60, deadline=None)
@given(entries, st.integers(0, 9), st.integers(0, 1), signs, powers)
def test_no_end_of_an_interval_can_be_moved(
    entry: dict[str, Any], index: int, end: int, sign: float, power: float
):
    seed = entry["seeds"][index % len(entry["seeds"])]
    seed["score_interval"][end] += sign * power * 1e-5 * max(1.0, abs(seed["score"]))
    assert "score_interval" in refused(entry)


@settings(max_examples=60, deadline=None)
@given(entries, st.sampled_from(["score", 0, 1, "both"]), signs, powers)
def test_no_number_of_the_entry_can_be_altered(entry: dict[str, Any], which: Any, sign: float, power: float):
    change = sign * power * 1e-5
    if which == "score":
        entry["score"] += change
    for end in (0, 1):
        if which in (end, "both"):
            entry["score_interval"][end] += change * (2 * end - 1 if which == "both" else 1)
    assert "score" in refused(entry)


@settings(max_examples=120, deadline=None)
@given(
    entries,
    st.integers(0, 9),
    st.sampled_from(["objective", "score", "both", "reward", "widened"]),
    signs,
    powers,
)
def test_consistent_pairs_contradict_a_third(
    entry: dict[str, Any], index: int, pair: str, sign: float, power: float
):
    seed = entry["seeds"][index % len(entry["seeds"])]
    limits = limits_of(entry["env_id"])
    gap = limits.optimum.gap
    assert gap is not None
    if pair == "reward":  # the objective stays
        change = sign * power * (1.5 * limits.spread + least(entry, seed, "expected_reward"))
        seed["expected_reward"] += change
        seed["kl"] += change / entry["kl_coef"]
    elif pair == "widened":
        if seed["evaluation"] is None or not seed["evaluation"]["errors"]["regret"]:
            return
        errors = seed["evaluation"]["errors"]
        for name in errors:
            errors[name] *= 1.05 + 100 * power
    else:
        change = sign * power * max(least(entry, seed, "regret"), 1e-5 * gap * max(1.0, abs(seed["score"])))
        seed["regret"] += change
        if pair in ("objective", "both"):
            seed["objective"] -= change
        if pair in ("score", "both"):
            seed["score"] -= change / gap
    refused(entry)


@settings(max_examples=60, deadline=None)
@given(
    entries,
    st.integers(0, 9),
    st.sampled_from(["kl", "difference", "expected_reward", "regret", "objective"]),
    powers,
)
def test_no_error_can_be_enlarged_beyond_the_others(
    entry: dict[str, Any], index: int, name: str, power: float
):
    seed = entry["seeds"][index % len(entry["seeds"])]
    if seed["evaluation"] is None:
        return
    errors = seed["evaluation"]["errors"]
    others = (
        errors["expected_reward"]
        + errors["objective"]
        + errors["difference"]
        + entry["kl_coef"] * errors["kl"]
    )
    others = others or limits_of(entry["env_id"]).spread / 1000  # an exact evaluation has none
    errors[name] += (1.01 + power) * others / (entry["kl_coef"] if name == "kl" else 1.0)
    assert f"errors.{name} must be" in refused(entry)


@settings(max_examples=40, deadline=None)
@given(
    entries,
    st.sampled_from(["seed", "tokens", "kl_coef", "schema_version", "task_sha256", "prompts"]),
    st.data(),
)
def test_what_the_task_says_cannot_be_altered(entry: dict[str, Any], name: str, data: st.DataObject):
    row, last = find_row(entry["env_id"]), entry["seeds"][-1]
    if name == "seed":
        last["seed"] = data.draw(st.integers(5, 2**62))
    elif name == "tokens":
        least_tokens = 0 if entry["agent"]["kind"] == "learner" else row.token_budget * 2
        last["tokens"] = data.draw(st.sampled_from([least_tokens, -1, row.token_budget * 2, 2**70]))
    elif name == "kl_coef":
        entry["kl_coef"] *= 1 + data.draw(st.sampled_from([-0.9, -1e-6, 1e-6, 1.0, 1e9]))
    elif name == "schema_version":
        entry["schema_version"] = 3 - entry["schema_version"]
    elif name == "task_sha256":
        entry["task_sha256"] = data.draw(st.sampled_from(["0" * 64, task_sha256(MODES), "", "z" * 64]))
    elif last["evaluation"] is not None:
        last["evaluation"]["prompts"] += data.draw(st.integers(1, 50))
    else:
        return
    assert name in refused(entry)


@settings(max_examples=40, deadline=None)
@given(entries, st.integers(0, 9), st.data())
def test_numbers_that_stand_free_are_taken(entry: dict[str, Any], index: int, data: st.DataObject):
    seed = entry["seeds"][index % len(entry["seeds"])]
    seed["seconds"] = data.draw(st.floats(0, 1e9))
    seed["tokens"] = data.draw(st.integers(1, find_row(entry["env_id"]).token_budget))
    entry["hardware"]["cores"] = data.draw(st.integers(1, 10_000))
    entry["versions"]["python"] = data.draw(st.text(max_size=9))
    entry["commit"] = data.draw(st.sampled_from(["0" * 40, "f" * 40]))
    evaluation = seed["evaluation"]
    if evaluation is not None:
        evaluation["seed"] = data.draw(st.integers(2**60, 2**61))
        evaluation["fresh"] = data.draw(st.booleans())
    with tempfile.TemporaryDirectory() as folder:
        assert refusal(entry, Path(folder)) is None
