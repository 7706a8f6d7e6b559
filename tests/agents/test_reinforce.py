"""REINFORCE: its gradient is the objective's."""

from __future__ import annotations

import numpy as np
import torch

from agents.networks.trajectories import make_engine
from agents.reinforce import leave_one_out
from tests.agents.tiny import exact_objective, gradient_of, tilted_policy, tiny_task


def test_reinforce_gradient_is_unbiased() -> None:
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    batch, group = 4096, 4
    engine = make_engine(task, batch, 0)
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(12):
        trajectories = policy.write(engine, np.zeros(batch, dtype=np.int64), generator)
        paid = trajectories.paid(task.kl_coef)
        advantages = leave_one_out(paid.flip(1).cumsum(1).flip(1), trajectories.mask, group)
        policy.zero_grad()
        log_probs, _ = policy.scores(trajectories, torch.arange(batch))
        ((advantages * log_probs).sum() / batch).backward()
        estimates.append(gradient_of(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999
