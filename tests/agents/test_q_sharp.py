"""Q#: its distributions, its examples, and the policies that follow from them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import q_sharp
from agents.networks.q_values import QResidualPolicy
from agents.q_sharp import QSharp, QSharpArguments, examples_of, shares_of
from agents.run import Training
from tests.agents.tiny import exact_objective, solution_of, tilted_policy, tiny_task, weighted_texts


def test_shares_keep_the_mean_of_the_exponential() -> None:
    support = torch.linspace(-12.0, 0.0, 7)
    nats = torch.tensor([-12.0, -11.0, -6.0, -0.3, 0.0])
    shares = shares_of(nats, support)
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    torch.testing.assert_close((shares * support.exp()).sum(1), nats.exp(), rtol=1e-4, atol=0.0)
    assert (shares >= 0).all() and ((shares > 0).sum(1) <= 2).all()
    assert shares_of(torch.tensor([-99.0, 7.0]), support).argmax(1).tolist() == [0, 6]


def test_examples_are_what_pi0_goes_on_from() -> None:
    task = tiny_task()
    texts, _ = weighted_texts(tilted_policy(task))
    examples = examples_of(texts, torch.tensor([0, 1, 2, 5, 2, 1, 0]))
    wanted = [[1, 0], [1, 1], [0, 1], [0, 0], [0, 1], [1, 1], [1, 1]]
    assert examples.mask.int().tolist() == wanted
    # token 2 counts once, and twice for the last text
    whole = [0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 1.0]
    torch.testing.assert_close(examples.rewards[:, 0], torch.tensor(whole))


def test_a_noisy_reward_counts_within_the_range_of_its_mean(tmp_path: Path) -> None:
    env_id = "klrl/DiagnosticNoise-v0"
    arguments = QSharpArguments(env_id=env_id, tokens=2_000, episodes=64, threads=1, out=str(tmp_path))
    q_sharp.train(arguments)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert losses and all(0 < loss < 1 / 0.1 + math.log(9) for loss in losses)  # nats; 9 atoms


@pytest.mark.slow
def test_what_pi0_writes_tells_the_optimum_of_every_coefficient(tmp_path: Path) -> None:
    task = tiny_task()
    torch.manual_seed(0)
    training = Training(QSharpArguments(out=str(tmp_path)), "q_sharp", budget=0)
    training.task = task
    args = QSharpArguments(
        batch=16384, updates=400, atoms=3, hidden="32-32-32", learning_rate=1e-2, reference_share=1.0
    )
    learner = QSharp(args, training, torch.device("cpu"))
    texts = learner.write(0.0)
    assert texts.log_ratios.abs().max() < 1e-5  # pi0's
    learner.update(0.02)
    for kl_coef in (task.kl_coef, 0.2, 2.0):
        other: Any = replace(task, kl_coef=kl_coef)
        policy = QResidualPolicy(other, 32, second=32, third=32, atoms=3)
        start = float(exact_objective(policy, other).detach())
        policy.load_state_dict(learner.policy.state_dict())
        best = float(solution_of(other).value) / kl_coef
        reached = float(exact_objective(policy, other).detach())
        assert best - start > 0.01
        assert (best - reached) / (best - start) < 0.02


def test_luck_is_refused(tmp_path: Path) -> None:
    args = QSharpArguments(env_kwargs={"slip": 0.1}, out=str(tmp_path), threads=1)
    with pytest.raises(ValueError, match="q_sharp needs a task"):
        q_sharp.train(args)
