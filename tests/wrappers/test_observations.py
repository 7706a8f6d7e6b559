"""StateIndex and ReferenceFeatures."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from klrl_envs.wrappers import (
    NoisyReward,
    ReferenceFeatures,
    StateIndex,
    VectorReferenceFeatures,
    VectorStateIndex,
)
from tests.wrappers.wrapped import END, GRID, SIZE, text_env


def test_state_index_is_a_bijection_of_time_state_and_context():
    env = StateIndex(text_env())
    seen = {}
    for actions in itertools.product(range(SIZE), repeat=3):
        observation, _ = env.reset()
        for action in (None, *actions):
            if action is not None:
                observation, *_ = env.step(action)
            engine = env.unwrapped.engine
            state = (int(engine.time[0]), int(engine.state[0]), int(engine.context[0]))
            assert env.observation_space.contains(observation)
            assert seen.setdefault(int(observation), state) == state
            if action == END:
                break
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_vector_state_index_agrees_with_single(mode):
    vector = VectorStateIndex(gym.make_vec(GRID, 3, autoreset_mode=mode))
    singles = [StateIndex(gym.make(GRID)) for _ in range(3)]
    observations, _ = vector.reset(seed=1)
    rng = np.random.default_rng(0)
    shown = [env.reset(seed=1 + lane)[0] for lane, env in enumerate(singles)]
    for _ in range(6):
        assert vector.observation_space.contains(observations)
        assert observations.tolist() == shown
        actions = rng.integers(0, 4, 3)
        observations, _, terminated, *_ = vector.step(actions)
        shown = [env.step(action)[0] for env, action in zip(singles, actions)]
        assert not terminated.any()


def test_observation_wrappers_refuse_what_they_cannot_do():
    same = gym.make_vec(GRID, 2, autoreset_mode="SameStep")
    with pytest.raises(ValueError, match="SameStep"):
        VectorStateIndex(same)
    with pytest.raises(ValueError, match="features id"):
        VectorReferenceFeatures(same)
    with pytest.raises(TypeError, match="VectorStateIndex wraps it"):
        StateIndex(same)
    with pytest.raises(TypeError, match="vectorization_mode='sync'"):
        NoisyReward(same, 1.0)


def test_reference_features_are_those_of_the_features_id():
    plain, features = ReferenceFeatures(gym.make(GRID)), gym.make("klrl/GridNavigationFeatures-v0")
    both = ReferenceFeatures(gym.make(GRID), augment=True)
    vector = VectorReferenceFeatures(gym.make_vec(GRID, 2))
    assert plain.observation_space == features.observation_space
    shown = [env.reset(seed=2)[0] for env in (plain, features, both, vector)]
    for action in (0, 1, 2, 0):
        assert (shown[0] == shown[1]).all() and (shown[2]["features"] == shown[1]).all()
        assert (shown[3][0] == shown[1]).all()
        assert both.observation_space.contains(shown[2]) and plain.observation_space.contains(shown[0])
        assert vector.observation_space.contains(shown[3])
        shown = [env.step(action)[0] for env in (plain, features, both)]
        shown.append(vector.step(np.array([action, action]))[0])
