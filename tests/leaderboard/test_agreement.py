"""When two measurements agree."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.results.entry import Seed
from klrl_envs.results.record import EvaluationRecord
from klrl_envs.results.statistics import t_interval
from leaderboard.agreement import check_claim, same_mean
from leaderboard.contained import Measurement
from tests.results.records import EVALUATION, entry

KL_COEF = 8.0


def measurement(**changes: float) -> Measurement:
    """Of the seed that scored 0.5 in ``entry()``, with J* - J0 = 62."""
    seed = entry().seeds[1].plain()
    names = ("score", "score_interval", "objective", "expected_reward", "kl", "regret")
    fields = {name: seed[name] for name in names}
    return Measurement.model_validate(
        {
            **fields,
            "evaluation": EVALUATION,
            "optimum": 81.0,
            "reference_value": 19.0,
            "task_sha256": "a" * 64,
        }
        | changes
    )


def test_a_claim_holds_within_five_combined_errors() -> None:
    claimed = entry().seeds[1]
    check_claim(claimed, measurement(), KL_COEF)
    error = np.hypot(0.5, 0.5)
    for sigmas in (-4.9, 4.9):
        check_claim(claimed, measurement(objective=50 + sigmas * error), KL_COEF)
        check_claim(claimed, measurement(kl=2 + sigmas * np.hypot(0.01, 0.01)), KL_COEF)
    for change in (
        {"objective": 50 + 5.1 * error},
        {"objective": 50 - 10 * error},
        {"regret": 31 + 5.1 * error},
        {"expected_reward": 66 - 5.1 * error},
        {"kl": 2 + 5.1 * np.hypot(0.01, 0.01)},
        {"score": 0.5 + 5.1 * error / 62, "score_interval": (0.4, 0.7)},
    ):
        with pytest.raises(ValueError, match=rf"seed 1 claims {next(iter(change))} .* measured at"):
            check_claim(claimed, measurement(**change), KL_COEF)


def test_where_nothing_is_sampled_only_rounding_is_allowed() -> None:
    exact = EvaluationRecord.model_validate(
        {**EVALUATION, "exact": True, "errors": dict.fromkeys(EVALUATION["errors"], 0)}
    )
    claimed: Seed = entry().seeds[1].model_copy(update={"evaluation": exact})
    ours = measurement().model_copy(update={"evaluation": exact})
    check_claim(claimed, ours.model_copy(update={"objective": 50 + 1e-5}), KL_COEF)
    with pytest.raises(ValueError, match="claims objective"):
        check_claim(claimed, ours.model_copy(update={"objective": 50.01}), KL_COEF)


def test_a_claim_without_errors_is_none() -> None:
    old = entry().seeds[1].model_copy(update={"evaluation": None})
    with pytest.raises(ValueError, match="seed 1 does not say how it was evaluated"):
        check_claim(old, measurement(), KL_COEF)


@pytest.mark.slow
def test_welch_rejects_one_honest_pair_in_a_hundred_and_an_interval_twelve() -> None:
    generator = np.random.default_rng(0)
    trials, welch, inside = 4000, 0, 0
    for _ in range(trials):
        spread = generator.uniform(0.5, 2)
        first, second = generator.normal(0.9, spread, (2, 5)).tolist()
        welch += not same_mean(first, second)
        lower, upper = t_interval(first)
        inside += not lower <= np.mean(second) <= upper
    # 4,000 trials: the standard errors are 0.16 % and 0.51 %
    assert 0.004 < welch / trials < 0.015
    assert 0.10 < inside / trials < 0.14


def test_welch_tells_runs_of_other_agents_apart() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        assert not same_mean(generator.normal(0, 1, 5).tolist(), generator.normal(8, 1, 5).tolist())


def test_runs_without_spread_agree_where_they_are_equal_to_rounding() -> None:
    assert same_mean([0.9], [0.9 + 1e-7]) and same_mean([70.0] * 5, [70.0001] * 5)
    assert not same_mean([0.9] * 5, [0.91] * 5)
    with pytest.raises(ValueError, match="two runs a side"):
        same_mean([0.9], [0.8])
    with pytest.raises(ValueError, match="finite"):
        same_mean([float("nan"), 1.0], [1.0, 1.0])
