"""Replay: texts of several batches score as they do in their own, each once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks import residual
from agents.networks.make import Trained, make_network
from agents.networks.replay import Replay, joined
from agents.networks.trajectories import Trajectories, make_engine
from tests.agents.tiny import tilted_policy, tiny_task

CASES = [
    pytest.param("Keywords-v0", {}, id="state"),
    pytest.param("Arithmetic-v0", {}, id="state-prompts"),
    pytest.param("DiagnosticReference-v0", {}, id="state-initial"),
    pytest.param("Brackets-v0", {"observe": "tokens"}, id="tokens"),
    pytest.param("WordProblems-v0", {"critic": False}, id="heads"),
    pytest.param("WordProblems-v0", {"trained": Trained("lora"), "critic": False}, id="lora"),
]


@pytest.mark.parametrize("large", [False, True], ids=["one table", "a table a batch"])
@pytest.mark.parametrize(("task_id", "settings"), CASES)
def test_joined_texts_score_as_alone(
    task_id: str, settings: dict[str, Any], large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(residual, "LARGEST_TABLE", 0)
    task = klrl_envs.make_task(task_id)
    torch.manual_seed(0)
    policy = make_network(task, **settings)
    for weight in policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.05) if weight.dim() < 2 else weight.data.mul_(1.1)
    engine, generator = policy.engine(task, 5, 0), torch.Generator().manual_seed(1)
    batches = [policy.write(engine, (np.arange(5) + 7 * number) % len(task.prompts.tokens), generator)
               for number in range(3)]  # fmt: skip
    places = [torch.tensor([4, 1]), torch.tensor([0]), torch.tensor([2, 3, 1])]
    whole = joined(list(zip(batches, places)))
    with torch.no_grad():
        found = policy.scores(whole, torch.arange(6))
        alone = [policy.scores(batch, place) for batch, place in zip(batches, places)]
    for number in (0, 1):
        wanted = torch.cat([each[number].sum(1) for each in alone])
        torch.testing.assert_close(found[number].sum(1), wanted, rtol=1e-4, atol=1e-4)
    wanted = torch.cat([batch.rewards[place].sum(1) for batch, place in zip(batches, places)])
    torch.testing.assert_close(whole.rewards.sum(1), wanted)
    assert whole.steps == sum(int(batch.mask[place].sum()) for batch, place in zip(batches, places))


def written(given: list[tuple[int, int]]) -> Trajectories:
    task = tiny_task()
    prompts = np.zeros(len(given), dtype=np.int64)
    return tilted_policy(task).write(
        make_engine(task, len(given), 0), prompts, torch.Generator(), np.array(given)
    )


def test_a_text_is_there_once_where_it_was_last_written() -> None:
    replay = Replay(2, 0.0)
    replay.add(written([(1, 1), (1, 1), (0, 1), (0, 2)]), np.zeros(4, dtype=np.int64))  # 0 ends a text
    assert replay.distinct() == {0: [(0, 1), (0, 3)]}
    replay.add(written([(1, 1), (2, 2), (2, 1), (2, 1)]), np.array([0, 0, 1, 1]))
    assert replay.distinct() == {0: [(1, 0), (0, 3), (1, 1)]}, "a prompt needs two texts"
    replay.add(written([(2, 2), (2, 1), (1, 2), (1, 2)]), np.array([1, 1, 0, 0]))
    assert replay.distinct() == {0: [(0, 0), (0, 1), (1, 3)], 1: [(1, 1), (1, 0)]}, "two batches are kept"


def test_draws_are_of_one_prompt_without_repetition() -> None:
    replay, rng = Replay(4, 0.0), np.random.default_rng(0)
    assert replay.draw(2, 1, 3, rng) == []
    replay.add(written([(1, 1), (1, 2), (2, 1), (2, 2), (0, 0)]), np.array([0, 0, 0, 1, 1]))
    for texts in replay.draw(20, 2, 3, rng):
        assert sorted(texts.prompts.tolist()) == [0, 1]
        assert len(texts.groups) == 5, "no more than there are"
        rows = texts.trajectories.actions
        for group, prompt in enumerate(texts.prompts):
            found = {tuple(row) for row in rows[texts.groups == group].tolist()}
            assert found == ({(1, 1), (1, 2), (2, 1)} if prompt == 0 else {(2, 2), (0, 0)})


def test_high_rewards_are_drawn_by_softmax() -> None:
    sharpness, rng = 2.0, np.random.default_rng(0)
    replay = Replay(1, sharpness)
    replay.add(written([(1, 1), (2, 2), (1, 2)]), np.zeros(3, dtype=np.int64))
    drawn = torch.cat([texts.trajectories.rewards.sum(1) for texts in replay.draw(4000, 1, 1, rng)])
    rewards, counts = drawn.unique(return_counts=True)
    own = written([(1, 1), (2, 2), (1, 2)]).rewards.sum(1)
    weights = torch.stack([(own == reward).sum() * (sharpness * reward).exp() for reward in rewards])
    torch.testing.assert_close(counts / 4000, weights / weights.sum(), rtol=0, atol=0.03)
