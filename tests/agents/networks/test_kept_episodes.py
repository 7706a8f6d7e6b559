"""Episodes that are drawn by what was wrong of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.kept_episodes import KeptEpisodes
from agents.networks.make import make_network
from agents.networks.trajectories import Trajectories


def written(count: int, batches: int) -> list[Trajectories]:
    task = klrl_envs.make_task("DiagnosticModes-v0")
    policy = make_network(task)
    engine, generator = policy.engine(task, count, 0), torch.Generator().manual_seed(0)
    return [policy.write(engine, np.zeros(count, dtype=np.int64), generator) for _ in range(batches)]


def test_draws_are_in_proportion_to_the_power_of_the_errors() -> None:
    replay = KeptEpisodes(2, 0.5)
    for batch in written(2, 2):
        replay.add(batch)
    replay.learnt(np.arange(4), torch.tensor([1.0, 4.0, 9.0, 16.0]))
    _, places = replay.draw(10_000, np.random.default_rng(0))
    shares = np.bincount(places, minlength=4) / len(places)
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.02)


def test_what_was_not_learnt_from_counts_as_the_worst_and_nothing_is_never_drawn() -> None:
    replay = KeptEpisodes(3, 1.0)
    first, second = written(2, 2)
    replay.add(first)
    replay.learnt(np.arange(2), torch.tensor([0.0, 0.5]))
    replay.add(second)
    _, places = replay.draw(30_000, np.random.default_rng(0))
    shares = np.bincount(places, minlength=4) / len(places)
    np.testing.assert_allclose(shares, np.array([0.001, 0.5, 0.5, 0.5]) / 1.501, atol=0.02)
    assert shares[0] > 0


def test_the_oldest_goes_and_what_is_drawn_is_what_was_kept() -> None:
    batches = written(4, 5)
    replay = KeptEpisodes(3, 0.0)
    for batch in batches:
        replay.add(batch)
    assert len(replay) == 12
    drawn, places = replay.draw(200, np.random.default_rng(0))
    assert drawn.visited is not None and len(np.unique(places)) == 12
    kept = [batches[3], batches[4], batches[2]]
    for row, place in enumerate(places.tolist()):
        source, number = kept[place // 4], place % 4
        assert source.visited is not None
        length = source.mask.shape[1]
        mask = source.mask[number]
        assert torch.equal(drawn.mask[row, :length], mask) and not drawn.mask[row, length:].any()
        assert torch.equal(drawn.actions[row, :length], source.actions[number])
        seen = drawn.visited.inputs[drawn.visited.state[row, :length][mask]]
        assert torch.equal(seen, source.visited.inputs[source.visited.state[number][mask]])
    assert len(drawn.visited.inputs) == len(torch.unique(drawn.visited.inputs, dim=0))


@pytest.mark.parametrize(("batches", "sharpness", "named"), [(0, 0.6, "kept"), (1, -1.0, "sharpness")])
def test_numbers_out_of_range_are_named(batches: int, sharpness: float, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be"):
        KeptEpisodes(batches, sharpness)
