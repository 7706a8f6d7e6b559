"""GRPO's family: each loss is the formula that it was published with, and goes where that goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents import grpo
from agents.grpo import GRPO, VARIANTS, GRPOArguments, Variant, advantages_of, loss_of, variant_of, weights_of
from benchmarks.signals import formulas
from benchmarks.studies.fixed_points import backward, local_forward_kl
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.signals import Batch, Loss, check_signal, random_task
from klrl_envs.signals.expected import Sampler
from klrl_envs.signals.policy import random_policy
from klrl_envs.signals.variants import Setting
from tests.agents.tiny import exact_objective, gradient_of, tilted_policy, tiny_task


def adapted(variant: Variant) -> Loss:
    """A variant as a loss of a ``Batch``."""

    def loss(batch: Batch) -> torch.Tensor:
        mask = batch.mask.bool()
        # the KL in the reward is that of who wrote, as of a batch that was just written
        nats = ((batch.old_log_probs - batch.reference_log_probs) * batch.mask).sum(dim=1)
        return loss_of(
            variant, batch.log_probs, batch.old_log_probs, batch.reference_log_probs, mask,
            weights_of(variant, mask, mask.shape[1]),
            advantages_of(variant, batch.rewards, nats, batch.group_size, batch.kl_coef),
            batch.kl_coef,
        )  # fmt: skip

    return loss


def in_reward(batch: Batch) -> torch.Tensor:
    """verl's use_kl_in_reward, without its second clip."""
    advantages = formulas.standardised(batch, formulas.priced(batch))[:, None]
    return formulas.over_tokens(batch, formulas.clipped(batch, advantages))


PUBLISHED: dict[str, tuple[Variant, Loss]] = {
    "grpo": (VARIANTS["grpo"], formulas.grpo),
    "dr_grpo": (VARIANTS["dr_grpo"], formulas.dr_grpo),
    "dapo": (VARIANTS["dapo"], formulas.dapo),
    "gspo": (VARIANTS["gspo"], formulas.gspo),
    "cispo": (VARIANTS["cispo"], formulas.cispo),
    "corrected": (VARIANTS["corrected"], formulas.corrected_grpo),
    "k3 without the deviation": (
        replace(VARIANTS["dapo"], clip_high=0.2, scale="none", kl="loss"),
        formulas.open_instruct_kl3,
    ),
    "k1 in the reward": (replace(VARIANTS["dapo"], clip_high=0.2, kl="reward"), in_reward),
}


@pytest.mark.parametrize("far", [False, True], ids=["own texts", "texts of another policy"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_loss_has_the_gradient_of_its_formula(name: str, far: bool) -> None:
    """Where another policy wrote, ratios are clipped on both sides."""
    variant, formula = PUBLISHED[name]
    task = random_task(prompts=1)
    rows = random_policy(task, seed=3)
    sampler = Sampler(writer=random_policy(task, seed=4)) if far else None
    ours, theirs = (
        Setting(loss, task, 3, 1).signal(sampler=sampler).gradients(rows).mean
        for loss in (adapted(variant), formula)
    )
    constant = task.mask.shape[1] if variant.mean == "longest" else 1
    assert np.abs(theirs).max() > 1e-4
    np.testing.assert_allclose(constant * ours, theirs, rtol=1e-5, atol=1e-8)


def test_only_the_corrected_loss_is_the_objectives() -> None:
    right = check_signal(adapted(VARIANTS["corrected"]), group=3, changes=())
    assert right.cosine is not None and right.cosine > 1 - 1e-6
    assert right.score > 1 - 1e-6 and right.padding == 0
    wrong = check_signal(adapted(VARIANTS["grpo"]), group=3, changes=())
    assert wrong.cosine is not None and wrong.cosine < 0.99
    assert wrong.score < 0.9 and wrong.padding == 0


def test_the_first_gradient_of_the_corrected_loss_is_the_objectives() -> None:
    """Up to the horizon, by which it is divided, and the share of its own that a mean of four holds."""
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    args = GRPOArguments(loss="corrected", batch=4096, minibatch=4096, group=4)
    learner = GRPO(args, task, torch.device("cpu"))
    learner.policy = policy
    estimates = []
    for _ in range(12):
        trajectories = learner.write()
        policy.zero_grad()
        advantages = learner.advantages(trajectories)
        weights = weights_of(learner.variant, trajectories.mask, task.horizon)
        learner.descend(trajectories, torch.arange(4096), weights, advantages)
        estimates.append(-gradient_of(policy) * task.horizon * 4 / 3)
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


@pytest.mark.parametrize("loss", VARIANTS)
def test_parts_of_a_minibatch_make_the_same_step(loss: str) -> None:
    weights = []
    for micro_batch in (0, 5):
        torch.manual_seed(0)
        args = GRPOArguments(loss=loss, batch=16, group=4, minibatch=8, epochs=2, micro_batch=micro_batch)
        learner = GRPO(args, tiny_task(), torch.device("cpu"))
        for _ in range(3):
            learner.update(learner.write(), 0.5)
        weights.append(torch.cat([weight.detach().flatten() for weight in learner.policy.actor_weights()]))
    assert weights[0].abs().max() > 0
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-4)


def test_switches_are_given_beside_the_loss() -> None:
    assert variant_of(GRPOArguments()) == VARIANTS["grpo"]
    changed = variant_of(GRPOArguments(loss="dapo", kl="reward", scale="none", clip_high=0.5))
    assert changed == replace(VARIANTS["dapo"], kl="reward", scale="none", clip_high=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "ppo"}, "loss must be one of grpo, dr_grpo, dapo, gspo, cispo, corrected, got 'ppo'"),
        ({"kl": "k3"}, "kl must be one of loss, reward, none, got 'k3'"),
        ({"clip_low": -0.1}, "clip_low and clip_high must be at least 0, got -0.1 and 0.2"),
        ({"group": 1}, "group must be at least 2 and divide batch 64, got 1"),
        ({"minibatch": 24}, "minibatch must divide batch 64, got 24"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        grpo.train(GRPOArguments(out=str(tmp_path), **given))


@pytest.mark.slow
def test_k3_in_the_loss_ends_at_its_own_fixed_point_and_the_corrected_loss_at_the_optimum(
    tmp_path: Path,
) -> None:
    env_id, kl_coef = "klrl/DiagnosticCoefficient-v0", 0.5
    best = klrl_envs.optimum(env_id, kl_coef=kl_coef)
    assert best.policy is not None
    end = backward(best.policy.problem, local_forward_kl(kl_coef))
    exact = evaluate_markov(best.policy.problem, end.state_log_probs, kl_coef=kl_coef)
    score = (exact.objective - best.reference_value) / (best.value - best.reference_value)
    trained: list[tuple[dict[str, Any], float]] = [
        ({"loss": "dr_grpo", "kl": "loss"}, score),
        ({"loss": "corrected"}, 1.0),
    ]
    for given, wanted in trained:
        args = GRPOArguments(
            env_id=env_id, env_kwargs={"kl_coef": kl_coef}, out=str(tmp_path), episodes=512, threads=1,
            **given,
        )  # fmt: skip
        assert grpo.train(args).score_estimate == pytest.approx(wanted, abs=0.05)
    assert score < 0.93
