"""DiagnosticReference: the initial policy beside the reference."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

import klrl_envs
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import optimum_of, problem_of


def test_the_initial_policy_is_published_and_is_not_the_reference() -> None:
    env: Any = gym.make("klrl/DiagnosticReference-v0")
    task, policy = env.unwrapped.task, env.unwrapped.initial_policy
    rows = policy.state_log_probs(np.arange(task.reference.contexts), 0, 0)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-12)
    assert np.abs(rows - task.reference.table).max() > 1
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(policy.log_probs(observation[None]), rows[[task.reference.start_context]])
    observation, *_ = env.step(5)
    np.testing.assert_allclose(policy.log_probs(observation[None]), rows[[5]])
    vector: Any = gym.make_vec("klrl/DiagnosticReference-v0", num_envs=2)
    assert vector.unwrapped.initial_policy is not None
    assert gym.make("klrl/DiagnosticNoise-v0").unwrapped.initial_policy is None
    worth = evaluate_markov(problem_of(task), policy.state_log_probs, kl_coef=task.kl_coef)
    assert worth.objective < optimum_of(task).reference_value
    seen = klrl_envs.evaluate(policy, env, episodes=400)
    assert seen.objective.lower - 0.02 < worth.objective < seen.objective.upper + 0.02
    assert seen.score.estimate < 0
