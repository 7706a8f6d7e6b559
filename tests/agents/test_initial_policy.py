"""Agents start at the initial policy where a task has one."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from klrl_envs.envs.engine import Engine
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import problem_of
from tests.oracles import evaluation_task


def test_agents_start_at_the_initial_policy() -> None:
    torch = pytest.importorskip("torch")
    from agents.networks.residual import ResidualPolicy
    from agents.q_learning import SoftQ

    task = evaluation_task("DiagnosticReference-v0")
    features: Any = gym.make("klrl/DiagnosticReferenceFeatures-v0")
    agent = ResidualPolicy(task)
    policy, on_features = agent.for_evaluation(task)
    assert on_features
    observation, _ = features.reset(seed=0)
    assert observation.shape == (3 + 1 + 2 * task.vocab_size,)
    for context in (task.reference.start_context, 5, 19):
        if context != task.reference.start_context:
            observation, *_ = features.step(context)
        np.testing.assert_allclose(
            policy.log_probs(observation[None])[0], task.initial_policy[context], atol=1e-5
        )
    table = SoftQ(task)
    context = np.arange(task.reference.contexts)
    rows = table.state_log_probs(context, np.full_like(context, 3), np.full_like(context, 7))
    np.testing.assert_allclose(rows, task.initial_policy, atol=1e-12)
    # what it writes is of the initial policy, and its KL is to the reference
    generator = torch.Generator().manual_seed(0)
    engine = Engine(task, 512)
    for lane in range(engine.lanes):
        engine.seed(lane, np.random.default_rng(lane))
    episodes = agent.write(engine, np.zeros(engine.lanes, dtype=np.int64), generator)
    expected = evaluate_markov(
        problem_of(task), lambda context, state, time: task.initial_policy[context], kl_coef=task.kl_coef
    )
    assert episodes.kl.sum(dim=1).mean().item() == pytest.approx(expected.kl, rel=0.05)
    index = torch.arange(engine.lanes)
    log_probs, kl = agent.scores(episodes, index)
    torch.testing.assert_close(
        log_probs, torch.where(episodes.mask, episodes.log_probs, 0), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(kl, episodes.kl, atol=1e-4, rtol=0)
    assert agent.values(episodes, index).shape == kl.shape


def test_stable_baselines_starts_at_the_initial_policy() -> None:
    pytest.importorskip("stable_baselines3")
    import torch

    from agents.sb3_ppo import networks_of

    task = evaluation_task("DiagnosticReference-v0")
    actor, critic = networks_of(task)
    env: Any = gym.make("klrl/DiagnosticReferenceFeatures-v0")
    observation, _ = env.reset(seed=0)
    shown = torch.as_tensor(observation)[None]
    rows = actor(shown).log_softmax(dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(rows, task.initial_policy[-1], atol=1e-5)
    assert critic(shown).shape == (1, 1)
