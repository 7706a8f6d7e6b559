"""REINFORCE: its gradient is the objective's with every baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents import reinforce
from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, make_engine
from agents.reinforce import (
    BASELINES,
    ReinforceArguments,
    leave_one_out,
    less_batch,
    less_greedy,
    to_go,
)
from klrl_envs import AutomatonTask
from tests.agents.tiny import exact_objective, gradient_of, tilted_policy, tiny_task

GROUP = 4


def advantages_of(
    baseline: str, policy: PolicyNetwork, task: AutomatonTask, written: Trajectories
) -> torch.Tensor:
    returns = to_go(written.paid(task.kl_coef))
    if baseline == "leave-one-out":
        return leave_one_out(returns, written.mask, GROUP)
    if baseline == "batch":
        return less_batch(returns, written.mask, normalise=False)
    prompts = np.zeros(len(returns) // GROUP, dtype=np.int64)
    engine = make_engine(task, len(prompts), 1)
    best = policy.write(engine, prompts, torch.Generator(), greedy=True)
    return less_greedy(returns, written.mask, to_go(best.rewards / task.kl_coef))


@pytest.mark.parametrize("baseline", BASELINES)
def test_reinforce_gradient_is_unbiased(baseline: str) -> None:
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    batch = 4096
    engine = make_engine(task, batch, 0)
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(12):
        trajectories = policy.write(engine, np.zeros(batch, dtype=np.int64), generator)
        advantages = advantages_of(baseline, policy, task, trajectories)
        policy.zero_grad()
        log_probs, _ = policy.scores(trajectories, torch.arange(batch))
        ((advantages * log_probs).sum() / batch).backward()
        estimates.append(gradient_of(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


RETURNS = torch.tensor([[3.0, 2.0, 1.0], [5.0, 4.0, 0.0], [1.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
MASK = torch.tensor([[True, True, True], [True, True, False], [True, False, False], [True, True, True]])


def test_the_baseline_of_the_batch_leaves_out_the_own_episode() -> None:
    found = less_batch(RETURNS, MASK, normalise=False)
    for row in range(4):
        others = torch.arange(4) != row
        expected = (RETURNS[row] - RETURNS[others][MASK[others]].mean()) * MASK[row]
        torch.testing.assert_close(found[row], expected)
    whole = less_batch(10 * RETURNS + 7, MASK, normalise=True)
    torch.testing.assert_close(whole, less_batch(RETURNS, MASK, normalise=True))
    assert whole[MASK].std() == pytest.approx(1.0, abs=1e-5)


def test_the_greedy_text_stands_for_its_group_and_is_worth_nothing_after_its_end() -> None:
    greedy = torch.tensor([[4.0, 3.0], [1.0, 1.0]])
    found = less_greedy(RETURNS, MASK, greedy)
    expected = torch.tensor([[-1.0, -1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("baseline", BASELINES)
def test_every_token_counts(baseline: str, tmp_path: Path) -> None:
    """Those of greedy texts, too: the ledger of the environment has as many as the training says."""
    began = klrl_envs.ledger.counts()
    args = ReinforceArguments(
        env_id="klrl/DiagnosticPromptScale-v0", tokens=2_000, batch=12, group=4, baseline=baseline,
        out=str(tmp_path), episodes=32, threads=1,
    )  # fmt: skip
    training = reinforce.Training(args, "reinforce")
    reinforce.learn(args, training, torch.device("cpu"))
    assert training.tokens == (klrl_envs.ledger.counts() - began).tokens
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines[-1]["tokens"] == training.tokens


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"baseline": "mean"}, "baseline must be one of leave-one-out, remax, batch, got 'mean'"),
        ({"group": 1}, "group must be at least 2 and divide batch 32, got 1"),
        ({"baseline": "remax", "group": 5}, "group must be at least 1 and divide batch 32, got 5"),
        ({"baseline": "remax", "normalise": True}, "normalise must be False with the baseline remax"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        reinforce.train(ReinforceArguments(out=str(tmp_path), **given))
