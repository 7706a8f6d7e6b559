"""LearnedReward and VectorLearnedReward: what a classifier pays, and what stays of the task's reward."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.wrappers import LearnedReward, NoisyReward, VectorLearnedReward
from tests.wrappers.wrapped import GRID, text_env


def letters(texts):
    """A classifier that anybody can check."""
    return [len(text) / 7 for text in texts]


def test_the_classifier_pays_once_at_the_end_and_the_task_s_reward_stays_on_record():
    env, plain = LearnedReward(text_env(), letters), text_env()
    env.reset(seed=0)
    plain.reset(seed=0)
    for action in (3, 1, 4, 2):
        _, reward, terminated, _, info = env.step(action)
        *_, plain_reward, _, _, plain_info = plain.step(action)
        assert info["task_reward"] == plain_reward
        assert reward == (len(plain_info["text"]) / 7 if terminated else 0.0)
    assert terminated and reward > 0


def test_an_inner_wrapper_says_what_the_task_paid():
    env = LearnedReward(NoisyReward(gym.make(GRID), 2.0), letters)
    env.reset(seed=1)
    paid = [env.step(action)[-1]["task_reward"] for action in (0, 2, 0)]
    assert paid == [float(round(reward)) for reward in paid]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_learned_reward_agrees_with_single(mode):
    lanes, steps = 3, 40
    task = text_env().unwrapped.task
    actions = np.random.default_rng(0).integers(0, 5, (steps, lanes))
    asked: list[int] = []

    def noted(texts):
        asked.append(len(texts))
        return letters(texts)

    env = VectorLearnedReward(TokenVectorEnv(task, lanes, autoreset_mode=mode), noted)
    env.reset(seed=5)
    singles = [LearnedReward(text_env(), letters) for _ in range(lanes)]
    for single in singles:
        single.reset(seed=0)
    resting = np.zeros(lanes, dtype=bool)
    ends = 0
    for row in actions:
        if mode is AutoresetMode.DISABLED and resting.any():
            env.reset(options={"reset_mask": resting.copy()})
            resting[:] = False
        _, rewards, terminated, _, infos = env.step(row)
        for lane, single in enumerate(singles):
            if resting[lane]:
                assert rewards[lane] == 0 and not infos["_task_reward"][lane]
                continue
            _, reward, end, _, info = single.step(row[lane])
            assert (rewards[lane], terminated[lane]) == (reward, end)
            said = infos["final_info"] if end and mode is AutoresetMode.SAME_STEP else infos
            assert said["_task_reward"][lane] and said["task_reward"][lane] == info["task_reward"]
            if end:
                ends += 1
                single.reset()
        resting = terminated.copy() if mode is not AutoresetMode.SAME_STEP else resting
    assert ends == sum(asked) > lanes


@pytest.mark.parametrize(
    ("answer", "message"),
    [([1.0, 2.0], r"must return shape \(1,\)"), ([float("nan")], "must return finite numbers, returned nan")],
)
def test_answers_that_are_none_are_refused(answer, message):
    env = LearnedReward(text_env(), lambda texts: answer)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        for action in (3, 1, 4, 2):
            env.step(action)


def test_a_vector_environment_is_told_of_its_wrapper():
    with pytest.raises(TypeError, match="VectorLearnedReward wraps it"):
        LearnedReward(TokenVectorEnv(text_env().unwrapped.task, 2), letters)
