"""KLReward and VectorKLReward: the penalty, and what is reported of it."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.kl import kl_divergence
from klrl_envs.wrappers import (
    KLReward,
    NoisyReward,
    ReferenceFeatures,
    VectorKLReward,
)
from tests.oracles import random_rows
from tests.wrappers.wrapped import END, GRID, SIZE, text_env, tilted


def test_kl_reward_pays_k1_and_reports_exact_kl():
    env, plain = (gym.make(GRID) for _ in range(2))
    env = KLReward(env, 8.0, tilted)
    observation, _ = env.reset(seed=3)
    plain.reset(seed=3)
    uniform = np.full((1, 4), -np.log(4))
    for action in (0, 1, 2, 3, 0, 0):
        rows = tilted(observation[None])
        observation, reward, *_, info = env.step(action)
        _, task_reward, *_ = plain.step(action)
        ratio = rows[0, action] + np.log(4)
        assert reward == pytest.approx(task_reward - 8.0 * ratio)
        assert info["kl"] == pytest.approx(kl_divergence(rows, uniform)[0])
        assert info["k1"] == pytest.approx(ratio)
        assert info["k2"] == pytest.approx(ratio**2 / 2)
        assert info["k3"] == pytest.approx(np.exp(-ratio) - 1 + ratio)
        assert info["task_reward"] == task_reward


def test_kl_reward_of_the_reference_is_the_task_reward():
    env = KLReward(gym.make(GRID), 8.0, lambda observations: np.full((len(observations), 4), -np.log(4)))
    env.reset(seed=0)
    for _ in range(10):
        _, reward, *_, info = env.step(0)
        assert reward == info["task_reward"]
        assert abs(info["kl"]) < 1e-15


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_kl_reward_agrees_with_single(mode):
    lanes, steps = 3, 40
    task = text_env().unwrapped.task
    policy = random_rows(np.random.default_rng(1), SIZE + 1, SIZE)

    def log_prob(observations):
        seen = np.asarray(observations)
        length = np.where((seen == END).any(axis=1), (seen == END).argmax(axis=1), seen.shape[1])
        last = np.where(length > 0, seen[np.arange(len(seen)), np.maximum(length - 1, 0)], SIZE)
        return policy[last]

    vector = VectorKLReward(TokenVectorEnv(task, lanes, autoreset_mode=mode), 0.5, log_prob)
    singles = [KLReward(text_env(), 0.5, log_prob) for _ in range(lanes)]
    vector.reset(seed=5)
    for lane, env in enumerate(singles):
        env.reset(seed=5 + lane)
    rng = np.random.default_rng(2)
    waiting = np.zeros(lanes, dtype=bool)
    ends = 0
    for _ in range(steps):
        actions = rng.integers(0, SIZE, lanes)
        _, rewards, terminated, _, infos = vector.step(actions)
        for lane, env in enumerate(singles):
            if waiting[lane]:  # the reset step of NEXT_STEP
                assert mode is AutoresetMode.NEXT_STEP
                assert rewards[lane] == 0 and not infos["_k1"][lane] and infos["k1"][lane] == 0
                env.reset()
                continue
            _, reward, done, _, info = env.step(actions[lane])
            where = infos["final_info"] if done and mode is AutoresetMode.SAME_STEP else infos
            assert rewards[lane] == pytest.approx(reward)
            for name in ("kl", "k1", "k2", "k3", "task_reward", "log_prob"):
                assert where[f"_{name}"][lane] and where[name][lane] == pytest.approx(info[name])
            if done:
                ends += 1
                if mode is AutoresetMode.SAME_STEP:
                    env.reset()
        if mode is AutoresetMode.NEXT_STEP:
            waiting = terminated.copy()
        if mode is AutoresetMode.DISABLED and terminated.any():
            vector.reset(options={"reset_mask": terminated})
            for lane in np.flatnonzero(terminated):
                singles[lane].reset()
    assert ends > 5


def test_kl_reward_refuses_bad_input():
    env = gym.make(GRID)
    with pytest.raises(ValueError, match="kl_coef must be a finite number of at least 0, got -1"):
        KLReward(env, -1, tilted)
    with pytest.raises(TypeError, match="VectorKLReward"):
        KLReward(gym.make_vec(GRID, 2), 1.0, tilted)
    with pytest.raises(TypeError, match="KLReward wraps it"):
        VectorKLReward(env.unwrapped, 1.0, tilted)
    wrapped = KLReward(env, 1.0, lambda observations: np.zeros((1, 4)))
    wrapped.reset(seed=0)
    with pytest.raises(ValueError, match="log_prob must return normalised"):
        wrapped.step(0)
    wrapped = KLReward(env, 1.0, lambda observations: np.zeros((1, 3)))
    wrapped.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(1, 4\), returned \(1, 3\)"):
        wrapped.step(0)
    with pytest.raises(TypeError, match="an environment of klrl_envs"):
        KLReward(gym.make("CartPole-v1"), 1.0, tilted)


def test_an_inner_wrapper_says_what_the_task_paid():
    env = KLReward(NoisyReward(gym.make(GRID), 3.0), 1.0, lambda rows: np.full((1, 4), -np.log(4)))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert info["task_reward"] in (0.0, -1.0, -10.0, 100.0) and reward != info["task_reward"]


def test_kl_reward_needs_observations_that_are_arrays():
    env = ReferenceFeatures(gym.make("klrl/Keywords-v0", horizon=3), augment=True)
    with pytest.raises(TypeError, match="observations must be arrays, got Dict"):
        KLReward(env, 1.0, lambda rows: rows)
