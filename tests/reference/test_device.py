"""The device of a reference: by name, outside the fingerprint, and nothing for a table."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import klrl_envs
from klrl_envs.reference.device import device_named, device_of, features_of, reference_on, rows_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("env_id", ["klrl/Sentiment-v0", "klrl/Summarization-v0", "klrl/Keywords-v0"])
def test_some_lanes_are_asked_for_alone(env_id: str) -> None:
    """Rows and states are those of all lanes, and tokens are scored by the rows that are there."""
    envs: list[Any] = [gym.make_vec(env_id, num_envs=5) for _ in range(2)]
    some = np.array([1, 3, 4])
    for env in envs:
        env.reset(seed=0)
    for step in range(3):
        one, all_of_them = (env.unwrapped.engine.reference_lanes for env in envs)
        rows = rows_of(all_of_them, CPU)
        torch.testing.assert_close(rows_of(one, CPU, some), rows[some], rtol=1e-5, atol=1e-5)
        if env_id != "klrl/Keywords-v0":
            features = features_of(all_of_them, CPU)
            torch.testing.assert_close(features_of(one, CPU, some), features[some], rtol=1e-5, atol=1e-5)
        tokens = rows.argsort(dim=1)[:, -1 - step].numpy()  # likely ones, so that no text ends at once
        scored = one.log_prob(tokens)
        np.testing.assert_allclose(scored, rows.numpy()[np.arange(5), tokens], rtol=1e-4, atol=1e-4)
        for env in envs:
            env.step(tokens)


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "mps"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:NUMBER"):
        device_named(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_auto_is_the_cpu_and_cuda_is_refused() -> None:
    assert device_named("auto") == device_named("cpu") == "cpu"
    for make in (klrl_envs.make_task, gym.make):
        with pytest.raises(ValueError, match="device is cuda, and torch sees 0 CUDA devices"):
            make("klrl/Sentiment-v0", device="cuda")


def test_the_device_is_no_part_of_the_task() -> None:
    plain, placed = (klrl_envs.make_task("Sentiment-v0", **kwargs) for kwargs in ({}, {"device": "auto"}))
    assert plain.fingerprint == placed.fingerprint and plain.device == "cpu"
    assert reference_on(plain.reference, "cpu") is plain.reference
    assert "model" not in vars(reference_on(plain.reference, "cuda")), "nothing is loaded before it is needed"
    elsewhere = reference_on(plain.reference, "meta")
    assert device_of(elsewhere) == "meta" and elsewhere.fingerprint == plain.reference.fingerprint
    assert reference_on(plain.reference, "meta") is elsewhere, "one copy a device"


def test_every_environment_takes_one_and_a_table_has_none() -> None:
    task = klrl_envs.make_task("Keywords-v0", device="auto")
    assert task.device == "cpu" and reference_on(task.reference, "meta") is task.reference
    with pytest.raises(TypeError, match=r"has no argument 'devise'.*it has .*device"):
        klrl_envs.make_task("Keywords-v0", devise="cpu")


def test_rows_and_features_are_handed_on_as_they_are() -> None:
    env: Any = gym.make_vec("klrl/Sentiment-v0", num_envs=2)
    env.reset(seed=0)
    lanes = env.unwrapped.engine.reference_lanes
    rows, features = rows_of(lanes, CPU), features_of(lanes, CPU)
    assert rows.data_ptr() == rows_of(lanes, CPU).data_ptr(), "not copied"
    torch.testing.assert_close(rows, torch.from_numpy(env.unwrapped.reference_log_probs()))
    torch.testing.assert_close(features, torch.from_numpy(lanes.hidden()))
    table: Any = gym.make_vec("klrl/Keywords-v0", num_envs=2)
    table.reset(seed=0)
    lanes = table.unwrapped.engine.reference_lanes
    assert rows_of(lanes, CPU).dtype == torch.float32
    with pytest.raises(TypeError, match="is a table"):
        features_of(lanes, CPU)
