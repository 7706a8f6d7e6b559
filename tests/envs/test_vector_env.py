"""Lanes: the same as Gymnasium's own vectorisation of single environments."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.envs.ids import IDS, actions_for, tolerance

pytestmark = pytest.mark.slow


def masked(infos: dict[str, Any]) -> dict[str, list[Any]]:
    """Infos of a vector environment as lists of what each lane has (None where it has none)."""
    result: dict[str, list[Any]] = {}
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos[f"_{key}"]
        if isinstance(value, dict):
            result.update({f"{key}.{name}": entry for name, entry in masked(value).items()})
        elif mask.any():
            result[key] = [value[lane] if mask[lane] else None for lane in range(len(mask))]
    return result


def assert_same(ours: Any, theirs: Any, atol: float) -> None:
    """Equality of nested infos, floats within ``atol``."""
    assert type(ours) is type(theirs) or np.isscalar(ours) or isinstance(ours, np.ndarray)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key], atol)
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, atol)
    elif isinstance(ours, (float, np.floating, np.ndarray)):
        np.testing.assert_allclose(ours, theirs, rtol=10 * atol, atol=10 * atol)
    else:
        assert ours == theirs


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", IDS)
def test_lanes_agree_with_gymnasium_vectorising_single_environments(env_id: str, mode: AutoresetMode) -> None:
    lanes = 3
    ours: Any = gym.make_vec(env_id, num_envs=lanes, autoreset_mode=mode.value)
    theirs: Any = gym.make_vec(
        env_id, num_envs=lanes, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
    )
    atol = tolerance(env_id)
    assert ours.metadata["autoreset_mode"] is mode
    assert ours.autoreset_mode is mode
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    observations, infos = ours.reset(seed=7)
    expected, expected_infos = theirs.reset(seed=7)
    np.testing.assert_allclose(observations, expected, rtol=atol, atol=atol)
    assert_same(masked(infos), masked(expected_infos), atol)
    rng = np.random.default_rng(3)
    steps = min(60, 3 * ours.unwrapped.task.horizon)
    for _ in range(steps):
        actions = actions_for(ours.unwrapped.task, rng, lanes)
        got, wanted = ours.step(actions), theirs.step(actions)
        assert got[1].dtype == np.float64
        np.testing.assert_allclose(got[0], wanted[0], rtol=atol, atol=atol)
        np.testing.assert_allclose(got[1], wanted[1], rtol=atol, atol=atol)
        np.testing.assert_array_equal(got[2], wanted[2])
        np.testing.assert_array_equal(got[3], wanted[3])
        assert_same(masked(got[4]), masked(wanted[4]), atol)
        if mode is AutoresetMode.DISABLED and got[2].any():
            options = {"reset_mask": got[2]}
            restarted, infos = ours.reset(options=options)
            assert "reset_mask" in options
            expected, expected_infos = theirs.reset(options=dict(options))
            np.testing.assert_allclose(restarted, expected, rtol=atol, atol=atol)
            assert_same(masked(infos), masked(expected_infos), atol)
