"""The optimum of an environment, by id and by environment."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reward.automaton import RewardAutomaton


def test_the_optimum_of_the_grid_by_id_and_by_environment():
    by_id = klrl_envs.optimum("klrl/GridNavigation-v0")
    assert by_id.exact and by_id.env_id == "klrl/GridNavigation-v0" and by_id.policy is not None
    assert by_id.lower == by_id.value == by_id.upper
    assert klrl_envs.optimum("GridNavigation-v0") is by_id
    assert klrl_envs.optimum("klrl/GridNavigationFeatures-v0") is by_id
    single = gym.make("klrl/GridNavigation-v0")
    lanes = gym.make_vec("klrl/GridNavigation-v0", num_envs=2)
    assert klrl_envs.optimum(single) is by_id and klrl_envs.optimum(lanes) is by_id
    other = klrl_envs.optimum("klrl/GridNavigation-v0", kl_coef=1.0)
    assert other.kl_coef == 1.0 and other.value > by_id.value and other.kl > by_id.kl
    assert by_id.frontier([8.0, 1.0]) == [by_id.point, other.point]
    slip = klrl_envs.optimum("klrl/GridNavigation-v0", slip=0.2)
    assert slip.value < by_id.value


def test_the_environment_s_own_policy_evaluates_to_its_optimum():
    env: Any = gym.make("klrl/GridNavigation-v0", slip=0.1)
    best, task = klrl_envs.optimum(env), env.unwrapped.task
    assert best.policy is not None
    found = evaluate_markov(best.policy.problem, best.policy.log_probs, kl_coef=task.kl_coef)
    assert found.objective == pytest.approx(best.value, abs=1e-9)
    assert found.kl == pytest.approx(best.kl, abs=1e-9)


def test_optima_are_plain_in_json():
    plain = json.loads(klrl_envs.optimum("klrl/GridNavigation-v0").to_json())
    assert plain["exact"] is True and plain["kl_coef"] == 8.0 and plain["effective_samples"] is None
    assert set(plain).isdisjoint({"policy", "certificate"})


@pytest.mark.parametrize("kl_coef", [0, -0.5, float("nan")])
def test_a_coefficient_without_an_optimum_is_refused(kl_coef):
    with pytest.raises(ValueError, match=f"kl_coef must be a finite number above 0, got {kl_coef}"):
        klrl_envs.optimum("klrl/Keywords-v0", kl_coef=kl_coef)


def test_what_is_no_environment_is_refused():
    with pytest.raises(TypeError, match="env_or_id must be an id or an environment"):
        klrl_envs.optimum(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="unknown environment 'klrl/Nowhere-v0'"):
        klrl_envs.optimum("klrl/Nowhere-v0")
    with pytest.raises(TypeError, match="arguments go with an id"):
        klrl_envs.optimum(gym.make("klrl/GridNavigation-v0"), kl_coef=1.0)


def test_the_cache_of_solutions_is_bounded():
    from klrl_envs.optima import optimum as module

    share = RewardAutomaton(
        np.minimum(np.arange(6)[:, None] + (np.arange(4) == 2), 5), final_reward=np.arange(6) / 5
    )
    for kl_coef in np.linspace(0.5, 1.0, module.CACHED_SOLUTIONS + 3):
        env = klrl_envs.exact_task(UniformReference(4), share, horizon=3, kl_coef=float(kl_coef))
        assert klrl_envs.optimum(env) is klrl_envs.optimum(env)
    assert len(module._solved) == module.CACHED_SOLUTIONS
