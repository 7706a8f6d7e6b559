"""From records to numbers and sentences."""

import math
from dataclasses import replace

import pytest

from klrl_envs import REGISTRY, optimum
from klrl_envs.registry import find_row, sweeps
from klrl_envs.results.capabilities import CAPABILITIES, of_diagnostic
from klrl_envs.results.findings import finding_of, findings_of
from tests.results.diagnostics import (
    GOLD,
    LENGTH,
    MODES,
    PLACES,
    comparison,
    diagnostic,
    finding,
    lengths,
)


def test_every_diagnostic_is_one_capability():
    assert set(PLACES) == set(sweeps()) == {row.gym_id for row in REGISTRY if "diagnostic" in row.tags}
    assert len(PLACES) == len(CAPABILITIES)
    for capability in CAPABILITIES:
        assert all(capability.axis in settings for settings in sweeps()[capability.env_id] if capability.axis)
        assert (len(sweeps()[capability.env_id]) > 1) == (capability.axis is not None)


def test_a_number_is_the_mean_of_clipped_scores():
    found = finding(LENGTH, lengths(0.96, 1.02, -3.0, 0.31))
    assert found.number == pytest.approx((0.96 + 1 + 0 + 0.31) / 4)
    assert found.missing == ()


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        ((0.96, 0.9, 0.6, 0.31), "Its score falls from 0.96 at horizon 4 to 0.31 at 256."),
        ((0.1, 0.3, 0.2, 0.4), "Its score rises from 0.10 at horizon 4 to 0.40 at 256."),
        ((0.93, 0.96, 0.95, 0.94), "Its score keeps between 0.93 and 0.96 from horizon 4 to 256."),
        ((0.5, 0.9, -2.0, 0.4), "Its score is best at horizon 16 (0.90) and worst at 64 (-2.00)."),
        ((0.5,), "Its score is 0.50 at horizon 4. Not run: horizon 16, 64, 256."),
    ],
)
def test_a_sentence_says_how_the_score_moves(scores: tuple[float, ...], sentence: str):
    assert finding(LENGTH, lengths(*scores)).sentence == sentence


def test_seeds_are_averaged_before_they_are_clipped():
    runs = [*lengths(1.0, 1, 1, 1), *lengths(-1.0, 1, 1, 1, seed=1)]
    assert finding(LENGTH, runs).number == pytest.approx(3 / 4)


def test_what_was_not_run_is_missing_and_no_zero():
    found = finding(LENGTH, lengths(0.9, 0.7))
    assert found.number == pytest.approx(0.8)
    assert found.missing == sweeps()[LENGTH][2:]
    other = finding(GOLD, lengths(0.9))
    assert other.number is None and other.sentence == "Not run."
    bare = finding(GOLD, [diagnostic(GOLD, 0.5)])
    assert bare.number is None and "no comparison" in bare.sentence


def test_a_score_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="a result has no value of score on klrl/DiagnosticLength-v0"):
        findings_of([diagnostic(LENGTH, None, env_kwargs={"horizon": 4})])


def test_staying_is_of_the_kl():
    env_id = "klrl/DiagnosticZeroReward-v0"
    still = finding(env_id, [diagnostic(env_id, None, regret=0.0)])
    assert still.number == 1 and "under 0.001 nats" in still.sentence
    moved = finding(env_id, [diagnostic(env_id, None, regret=0.07)])  # at kl_coef .1
    assert moved.number == pytest.approx(math.exp(-0.7)) and "0.7 nats" in moved.sentence


def test_the_start_is_that_of_the_task():
    env_id = "klrl/DiagnosticReference-v0"
    found = finding(env_id, [diagnostic(env_id, 0.5)])
    assert found.number == 0.5 and found.sentence.endswith("ends at 0.50.")
    assert float(found.sentence.split()[4].rstrip(";")) < 0, "the initial policy is worse than the reference"


def test_modes_are_the_score_with_the_divergence_turned_round():
    for policy, number in (("reference", 0.0), ("optimal", 1.0)):
        found = finding(MODES, [diagnostic(MODES, number, comparison=comparison(MODES, policy))])
        assert found.number == pytest.approx(number, abs=1e-9)
    best = optimum(MODES)
    half = comparison(MODES, "optimal", forward_kl=best.kl / 2)
    half["metrics"]["mode_c"] = 0.01
    found = finding(MODES, [diagnostic(MODES, 0.9, comparison=half)])
    assert found.number == pytest.approx(0.5)
    assert "mode_c has 0.01 of its texts, of the optimum's 0.34" in found.sentence
    never = comparison(MODES, "optimal", forward_kl=None)
    found = finding(MODES, [diagnostic(MODES, 0.9, comparison=never)])
    assert found.number == 0 and "infinite" in found.sentence


def test_gold_is_compared_with_the_optimums():
    exact = comparison(GOLD, "optimal")
    best = exact["optimal_metrics"]["gold"]
    for gold, number in ((best, 1.0), (best / 4, 0.25), (2 * best, 1.0)):
        run = diagnostic(GOLD, 0.7, comparison={**exact, "metrics": {"gold": gold}})
        found = finding(GOLD, [run])
        assert found.number == pytest.approx(number)
        assert f"gold reward is {gold:.2f}" in found.sentence and "scores 0.70" in found.sentence
    with pytest.raises(ValueError, match="no value of the metric gold"):
        findings_of([diagnostic(GOLD, 0.7, comparison={**exact, "metrics": {}})])


def test_stakes_name_the_kl():
    env_id = "klrl/DiagnosticPromptScale-v0"
    sentence = finding(env_id, [diagnostic(env_id, 0.62)]).sentence
    assert sentence.startswith("It scores 0.62 over stakes of 0.1, 1 and 10, with 1.25 nats of KL")
    assert f"{optimum(env_id).kl:.2f}" in sentence


def test_a_diagnostic_that_nothing_is_said_of_tells_its_score_along_its_sweep():
    row = replace(find_row(LENGTH), id="DiagnosticNewThing-v0", summary="something new")
    capability = of_diagnostic(row)
    assert (capability.title, capability.asks, capability.axis) == ("New thing", "Something new.", "horizon")
    assert of_diagnostic(replace(row, sweep=({},))).axis is None
    found = finding_of(replace(capability, env_id=LENGTH), lengths(0.9, 0.7))
    assert found.number == pytest.approx(0.8)
    assert found.sentence.startswith("Its score falls from 0.90 at horizon 4 to 0.70 at 16.")
