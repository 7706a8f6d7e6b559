"""Path consistency: its errors, its gradient, and what it needs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import path_consistency
from agents.networks.trajectories import Trajectories
from agents.path_consistency import PathConsistency, PathConsistencyArguments, descend, errors_of
from agents.run import Training
from tests.agents.tiny import (
    cut_short,
    expected_gradient,
    gradient_of,
    optimal_policy,
    random_critic,
    tilted_policy,
    tiny_task,
    weighted_texts,
)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 9])
def test_errors_are_those_of_pieces_one_by_one(steps: int) -> None:
    rng = np.random.default_rng(steps)
    lengths = [5, 3, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    paid = torch.as_tensor(rng.normal(size=(3, 5))) * mask
    values = torch.as_tensor(rng.normal(size=(3, 5)))
    found = errors_of(paid, values, mask, steps)
    for row, first in itertools.product(range(3), range(5)):
        end = min(first + (steps or 5), lengths[row])
        following = values[row, end] if end < lengths[row] else 0.0
        wanted = values[row, first] - following - paid[row, first:end].sum() if first < end else 0.0
        assert float(found[row, first]) == pytest.approx(float(wanted))


@pytest.mark.parametrize("steps", [0, 1])
def test_no_text_is_inconsistent_at_the_optimum(steps: int) -> None:
    """Whoever wrote it: the texts are all there are, none weighs more."""
    task = tiny_task()
    policy = optimal_policy(task)
    texts = weighted_texts(tilted_policy(task))[0]
    for some in (texts, cut_short(task, texts)):
        loss = descend(policy, policy.softened(some), task.kl_coef, steps, 0)
        assert float(loss) < 1e-9
    tilted = tilted_policy(task)
    assert float(descend(tilted, tilted.softened(texts), task.kl_coef, steps, 0)) > 1e-2


def test_the_first_gradient_is_that_of_the_objective_token_by_token() -> None:
    """With pieces up to the end, the t-th of T tokens counts t / T times; whatever the critic says."""
    task, policy = tiny_task(), tilted_policy(tiny_task())
    random_critic(policy)
    texts, probabilities = weighted_texts(policy)
    to_go = texts.paid(task.kl_coef).flip(1).cumsum(1).flip(1)
    log_probs, _ = policy.scores(texts, torch.arange(7))
    weights = torch.tensor([1.0, 2.0]) / 2
    (probabilities[:, None] * weights * to_go * log_probs).sum().backward()
    exact = gradient_of(policy)
    softened = policy.softened(texts)
    found = expected_gradient(
        policy, probabilities, lambda index: descend(policy, only(softened, index), task.kl_coef, 0, 0)
    )
    torch.testing.assert_close(found, -exact, rtol=1e-3, atol=1e-5)
    assert exact.norm() > 0.1


def only(texts: Trajectories, index: torch.Tensor) -> Trajectories:
    """The episodes of an index [n]."""
    from dataclasses import fields, replace

    parts = {item.name: getattr(texts, item.name) for item in fields(texts)}
    chosen = {name: part[index] for name, part in parts.items() if isinstance(part, torch.Tensor)}
    assert texts.visited is not None
    visited = replace(texts.visited, state=texts.visited.state[index], context=texts.visited.context[index])
    return replace(texts, **chosen, visited=visited)


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_texts_are_cut_short_where_they_are_learnt_from(
    cut: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = PathConsistencyArguments(
        env_id="klrl/Recall-v0", tokens=100, cut=cut, replayed=1, out=str(tmp_path)
    )
    learner = PathConsistency(args, Training(args, "path_consistency"), torch.device("cpu"))
    lengths: list[float] = []
    softened = learner.policy.softened

    def watched(texts: Trajectories) -> Trajectories:
        lengths.append(float(texts.mask.sum(1).float().mean()))
        return softened(texts)

    monkeypatch.setattr(learner.policy, "softened", watched)
    for _ in range(2):
        learner.update(learner.write(), 0.5)
    assert len(lengths) == 3 and all((each < 16) == (cut > 0) for each in lengths)


def test_luck_is_refused(tmp_path: Path) -> None:
    args = PathConsistencyArguments(env_kwargs={"slip": 0.1}, out=str(tmp_path), threads=1)
    with pytest.raises(ValueError, match="path_consistency needs a task"):
        path_consistency.train(args)
