"""The Gymnasium contract, once, over every registered id."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import klrl_envs
from tests.envs.ids import IDS, NEURAL_TOLERANCE, PLAIN_IDS, actions_for


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checker_finds_nothing(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env: Any = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
        # GridNavigation's rendering as a window needs a screen; the other modes are checked below
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_observations_lie_in_the_space_and_episodes_terminate(env_id: str) -> None:
    env: Any = gym.make(env_id)
    task = env.unwrapped.task
    rng = np.random.default_rng(1)
    for episode in range(3):
        observation, info = env.reset(seed=episode)
        assert env.observation_space.contains(observation)
        assert ("prompt" in info) == (task.prompt_length > 0)
        total = 0.0
        for _ in range(task.horizon):
            action = actions_for(task, rng, 1)[0]
            observation, reward, terminated, truncated, info = env.step(action)
            assert env.observation_space.contains(observation)
            assert type(reward) is float
            assert truncated is False
            total += reward
            if terminated:
                break
        assert terminated
        assert isinstance(info["text"], str)
        assert "episode" not in info
        low, high = task.reward_range
        assert low <= total <= high


@pytest.mark.parametrize("env_id", IDS)
def test_spec_survives_json_and_rebuilds_the_environment(env_id: str) -> None:
    env: Any = gym.make(env_id, kl_coef=0.5, horizon=5)
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.kl_coef == 0.5
    assert again.unwrapped.task.horizon == 5
    assert again.observation_space == env.observation_space
    vector: Any = gym.make_vec(env_id, num_envs=2, autoreset_mode="SameStep", horizon=5)
    rebuilt: Any = gym.make_vec(EnvSpec.from_json(vector.spec.to_json()))
    assert rebuilt.num_envs == 2
    assert rebuilt.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("copier", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
@pytest.mark.parametrize("env_id", IDS)
def test_copies_in_mid_episode_go_on_alike(env_id: str, copier: Any) -> None:
    env: Any = gym.make(env_id)
    env.reset(seed=5)
    task = env.unwrapped.task
    rng = np.random.default_rng(5)
    for action in rng.integers(1, task.vocab_size, 3):
        if env.step(action)[2]:
            env.reset()
    twin = copier(env)
    for _ in range(2 * task.horizon):
        action = actions_for(task, rng, 1)[0]
        one, other = env.step(action), twin.step(action)
        np.testing.assert_allclose(one[0], other[0], rtol=NEURAL_TOLERANCE, atol=NEURAL_TOLERANCE)
        assert one[1] == pytest.approx(other[1], abs=1e-6)
        assert one[2] == other[2]
        if one[2]:
            np.testing.assert_allclose(env.reset()[0], twin.reset()[0], atol=NEURAL_TOLERANCE)
    assert len(pickle.dumps(env)) < 200_000


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_splits_of_prompts_are_disjoint_and_can_be_chosen(env_id: str) -> None:
    train = klrl_envs.make_task(env_id, prompts="train").prompts.tokens
    env: Any = gym.make(env_id, prompts="evaluation")
    evaluation = env.unwrapped.task.prompts.tokens
    if evaluation.shape[1]:
        rows = {tuple(row) for row in train.tolist()}
        assert not any(tuple(row) in rows for row in evaluation.tolist())
        observation, info = env.reset(options={"prompt": 3})
        assert info["prompt"] == 3
        np.testing.assert_array_equal(observation[: evaluation.shape[1]], evaluation[3])
    with pytest.raises(ValueError, match="prompts must be 'train' or 'evaluation'"):
        gym.make(env_id, prompts="test")
    with pytest.raises(ValueError, match=r"prompt must be in 0\.\."):
        env.reset(options={"prompt": len(evaluation)})
    with pytest.raises(ValueError, match="options may have the keys"):
        env.reset(options={"promt": 0})


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_bad_input_is_refused_by_name(env_id: str) -> None:
    env: Any = gym.make(env_id, disable_env_checker=True).unwrapped
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    env.reset(seed=0)
    size = env.task.vocab_size
    for wrong in (-1, size):
        with pytest.raises(ValueError, match=rf"action must be a token in 0\.\.{size - 1}, got {wrong}"):
            env.step(wrong)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    with pytest.raises(ValueError, match="kl_coef must be a finite number above 0"):
        gym.make(env_id, kl_coef=0)
    with pytest.raises(ValueError, match="horizon must be a whole number of at least 1"):
        gym.make(env_id, horizon=0)
    with pytest.raises(ValueError, match="reference"):
        gym.make(env_id, reference="no-such-model")
    with pytest.raises(TypeError, match="has no argument 'horizn'"):
        gym.make(env_id, horizn=3)
    with pytest.raises(ValueError, match="reference_log_prob must be"):
        gym.make(env_id, reference_log_prob="never")
    with pytest.raises(ValueError, match="autoreset_mode must be one of"):
        gym.make_vec(env_id, num_envs=2, autoreset_mode="sometimes")


@pytest.mark.parametrize("wrong", [1.9, "1", True, [1, 2]])
def test_actions_are_integers(wrong):
    env = gym.make("klrl/GridNavigation-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be integers of shape"):
        env.step(wrong)
    with pytest.raises(ValueError, match="prompt must be in"):
        env.reset(options={"prompt": 0.5})
