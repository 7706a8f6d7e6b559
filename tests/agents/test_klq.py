"""KLQ: its gradient is the objective's, and at the optimum there is nothing to correct."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.klq import KLQ, KLQArguments, descend, rescored, surplus_of, targets_of
from agents.networks.trajectories import Trajectories
from agents.run import Training
from tests.agents.tiny import (
    cut_short,
    exact_objective,
    expected_gradient,
    gradient_of,
    optimal_policy,
    random_critic,
    tilted_policy,
    tiny_task,
    weighted_texts,
)


def test_the_first_gradient_is_that_of_the_objective_whatever_the_critic_says() -> None:
    task, policy = tiny_task(), tilted_policy(tiny_task())
    random_critic(policy)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    texts, probabilities = weighted_texts(policy)
    softened = policy.softened(texts)
    targets = targets_of(policy, softened, task.kl_coef, 1.0)
    found = expected_gradient(
        policy, probabilities, lambda index: descend(policy, softened, targets, index, 0)
    )
    torch.testing.assert_close(found, -exact, rtol=1e-3, atol=1e-5)
    assert exact.norm() > 0.1


@pytest.mark.parametrize("return_lambda", [0.0, 0.5, 1.0])
def test_at_the_optimum_every_text_has_the_values_that_it_aims_at(return_lambda: float) -> None:
    task = tiny_task()
    policy = optimal_policy(task)
    random_critic(policy)
    texts = policy.softened(weighted_texts(policy)[0])
    off = surplus_of(texts.paid(task.kl_coef), policy.values(texts, torch.arange(7)), texts.mask, 0.0)
    assert off.abs().max() > 0.1  # of a wrong critic
    torch.nn.init.zeros_(policy.critic[-1].weight)  # type: ignore[arg-type]
    values = policy.values(texts, torch.arange(7))
    surplus = surplus_of(texts.paid(task.kl_coef), values, texts.mask, return_lambda)
    assert surplus.abs().max() < 1e-5


@pytest.mark.parametrize("return_lambda", [0.0, 0.5, 1.0])
def test_so_have_texts_of_others_and_such_as_are_cut_short(return_lambda: float) -> None:
    task = tiny_task()
    policy = optimal_policy(task)
    texts = weighted_texts(tilted_policy(task))[0]
    for some in (texts, cut_short(task, texts)):
        own = rescored(policy, policy.softened(some))
        assert (own.log_ratios - some.log_ratios).abs().max() > 0.1, "another wrote them"
        values = policy.values(own, torch.arange(7))
        assert surplus_of(own.paid(task.kl_coef), values, own.mask, return_lambda).abs().max() < 1e-5


@pytest.mark.parametrize("passes", [0, 3])
def test_a_batch_is_learnt_from_again_with_its_texts_cut_short(
    passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = KLQArguments(env_id="klrl/DiagnosticModes-v0", tokens=100, cut_passes=passes, out=str(tmp_path))
    learner = KLQ(args, Training(args, "klq"), torch.device("cpu"))
    lengths: list[float] = []
    learn_from = learner.learn_from

    def watched(texts: Trajectories, progress: float) -> float:
        lengths.append(float(texts.mask.sum(1).float().mean()))
        return learn_from(texts, progress)

    monkeypatch.setattr(learner, "learn_from", watched)
    learner.update(learner.write(), 0.5)
    assert len(lengths) == 1 + passes and all(each < lengths[0] for each in lengths[1:])


def test_a_language_model_is_not_begun_and_a_neural_text_not_cut(tmp_path: Path) -> None:
    args = KLQArguments(env_id="klrl/Sentiment-v0", tokens=100, begun=0.5, train="all", out=str(tmp_path))
    training = Training(args, "klq")
    with pytest.raises(ValueError, match="begun must be 0 with train all"):
        KLQ(args, training, torch.device("cpu"))
    for passes, wanted in ((1, "cut must be 0 on Sentiment-v0"), (-1, "cut_passes must be at least 0")):
        args = KLQArguments(env_id="klrl/Sentiment-v0", tokens=100, cut_passes=passes, out=str(tmp_path))
        with pytest.raises(ValueError, match=wanted):
            KLQ(args, training, torch.device("cpu"))


def test_surplus_is_the_whole_return_at_lambda_one_and_one_step_at_zero() -> None:
    rng = np.random.default_rng(0)
    lengths = torch.tensor([4, 2])
    mask = torch.arange(4) < lengths[:, None]
    paid = torch.as_tensor(rng.normal(size=(2, 4))) * mask
    values = torch.as_tensor(rng.normal(size=(2, 4)))
    for row, length in enumerate(lengths.tolist()):
        for step in range(length):
            after = values[row, step + 1] if step + 1 < length else 0.0
            whole = surplus_of(paid, values, mask, 1.0)[row, step]
            torch.testing.assert_close(whole, paid[row, step:].sum() - values[row, step])
            one = surplus_of(paid, values, mask, 0.0)[row, step]
            torch.testing.assert_close(one, paid[row, step] + after - values[row, step])
