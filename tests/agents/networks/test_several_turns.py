"""What policies write and learn from where the task writes, too: no gradient and no KL for its tokens."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.make import make_network
from agents.networks.trajectories import make_engine
from agents.reinforce import descend, leave_one_out
from klrl_envs.evaluation.rollout import roll_out
from tests.talk import guessing_game


def tilted(task: Any, observe: str) -> Any:
    """A policy away from the reference."""
    torch.manual_seed(2)
    policy: Any = make_network(task, observe=observe)
    last = policy.actor[-1] if observe == "state" else policy.actor.head[-1]
    torch.nn.init.normal_(last.weight, std=0.3)
    return policy


def written(policy: Any, task: Any, lanes: int, seed: int = 0) -> Any:
    """Episodes of a policy, and the engine that they were written in."""
    engine = make_engine(task, lanes, seed)
    prompts = np.zeros(lanes, dtype=np.int64)
    return engine, policy.write(engine, prompts, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("observe", ["state", "tokens"])
def test_trajectories_hold_the_agents_tokens_alone(observe: str) -> None:
    task = guessing_game(horizon=5).task
    policy = tilted(task, observe)
    engine, trajectories = written(policy, task, 64)
    assert trajectories.steps == engine.taken == int(engine.time.sum())
    mask, before = trajectories.mask, trajectories.before(torch.arange(64))
    own = torch.as_tensor(engine.agent_mask())
    for lane in range(64):
        places = before[lane][mask[lane]]
        assert places.tolist() == torch.nonzero(own[lane])[:, 0].tolist()
        taken = torch.as_tensor(engine.tokens[lane])[places]
        assert taken.tolist() == trajectories.actions[lane][mask[lane]].tolist()
    log_probs, kl = policy.scores(trajectories, torch.arange(64))
    np.testing.assert_allclose(log_probs.detach(), trajectories.log_probs, atol=2e-5)
    np.testing.assert_allclose(kl.detach(), trajectories.kl, atol=2e-5)
    np.testing.assert_allclose(trajectories.log_ratios.sum(1), nats(engine, trajectories), atol=2e-5)


def nats(engine: Any, trajectories: Any) -> Any:
    """log pi - log pi0 of whole episodes, pi0's by the engine."""
    return trajectories.log_probs.sum(1).numpy() - engine.reference_nats


@pytest.mark.parametrize("observe", ["state", "tokens"])
def test_what_is_evaluated_is_what_was_written(observe: str) -> None:
    task = guessing_game(horizon=5).task
    policy = tilted(task, observe)
    _, trajectories = written(policy, task, 4096)
    scored, features = policy.for_evaluation(task)
    episodes = roll_out(scored, task, episodes=4096, seed=1, features=features)
    for ours, theirs in (
        (trajectories.rewards.sum(1).numpy(), episodes.reward),
        (trajectories.kl.sum(1).numpy(), episodes.kl),
        (trajectories.mask.sum(1).numpy(), episodes.length),
    ):
        error = np.hypot(ours.std(), theirs.std()) / 4096**0.5
        assert ours.mean() == pytest.approx(theirs.mean(), abs=5 * error)


def test_the_gradient_is_that_of_the_objective() -> None:
    """Against differences of the exact objective along a direction, luck and all."""
    task = guessing_game(horizon=3).task
    policy = tilted(task, "state")
    weights = policy.actor_weights()
    direction = [torch.randn(weight.shape) for weight in weights]
    slopes = []
    for seed in range(16):
        _, trajectories = written(policy, task, 512, seed)
        to_go = trajectories.paid(task.kl_coef).flip(1).cumsum(1).flip(1)
        policy.zero_grad()
        descend(policy, trajectories, leave_one_out(to_go, trajectories.mask, 512), 0)
        slopes.append(-sum(float((one.grad * other).sum()) for one, other in zip(weights, direction)))
    known = slope(policy, weights, direction)
    error = np.std(slopes) / len(slopes) ** 0.5
    assert abs(known) > 5 * error, "the direction tells something"
    assert np.mean(slopes) == pytest.approx(known, abs=4.5 * error)


def slope(policy: Any, weights: Any, direction: Any, step: float = 1e-2) -> float:
    """d J / kl_coef along a direction, by central differences of the exact objective."""
    env = guessing_game(horizon=3, features=True)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, change in zip(weights, direction):
                weight += sign * step * change
            values.append(klrl_envs.evaluate_exactly(policy.for_evaluation(env.task)[0], env).objective)
            for weight, change in zip(weights, direction):
                weight -= sign * step * change
    return (values[0] - values[1]) / (2 * step) / env.kl_coef
