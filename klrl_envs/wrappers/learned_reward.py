"""A reward that is learnt: what a classifier makes of a text, in place of what the task pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.wrappers.base import TokenVectorWrapper, masked, single

Classifier = Callable[[Sequence[str]], Any]
"""Texts, prompts included -> what each is worth, float [K], in units of reward."""


def worth(classifier: Classifier, texts: Sequence[str]) -> FloatArray:
    """What a classifier says of texts, float64 [K].

    Raises:
        ValueError: it gives another shape, or numbers that are not finite.
    """
    found = np.asarray(classifier(texts), dtype=np.float64)
    if found.shape != (len(texts),):
        raise ValueError(f"the classifier must return shape ({len(texts)},), returned {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(
            f"the classifier must return finite numbers, returned {found[~np.isfinite(found)][0]}"
        )
    return found


class LearnedReward(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Pays at the end of an episode what a classifier makes of its text, and nothing before.

    The task's own reward is in info as ``task_reward``, for the record: an agent that is to learn from the
    classifier does not read it. J* and the score stay those of the task: how far a learnt reward leads is
    what is measured.

    Args:
        env: an environment of klrl_envs.
        classifier: texts -> what they are worth, in units of reward; it may learn between episodes.

    Raises:
        ValueError: at the end of an episode, a worth that is no finite number.
        TypeError: a vector environment (see ``VectorLearnedReward``).
    """

    def __init__(self, env: gym.Env[Any, Any], classifier: Classifier) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, classifier=classifier)
        single(env, "LearnedReward", "VectorLearnedReward wraps it")
        super().__init__(env)
        self._classifier = classifier

    def step(self, action: Any) -> Any:
        """As the environment's, with what the classifier pays."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        paid = 0.0
        if terminated or truncated:
            paid = float(worth(self._classifier, [info["text"]])[0])
        # an inner wrapper that changes the reward has said already what the task paid
        return observation, paid, terminated, truncated, {"task_reward": float(reward), **info}


class VectorLearnedReward(TokenVectorWrapper, gym.utils.RecordConstructorArgs):
    """``LearnedReward`` of N lanes, in every autoreset mode; texts that end together are judged together.

    Args:
        env: a vector environment of klrl_envs.
        classifier: as for ``LearnedReward``.
    """

    def __init__(self, env: Any, classifier: Classifier) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, classifier=classifier)
        super().__init__(env)
        self._classifier = classifier

    def step(self, actions: Any) -> Any:
        """As the environment's, with what the classifier pays."""
        stepped = ~self._token_env.engine.done
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        ended = (terminated | truncated) & stepped
        lanes = np.flatnonzero(ended)
        same_step = self._token_env.autoreset_mode is AutoresetMode.SAME_STEP
        paid = np.zeros(len(stepped))
        if len(lanes):
            last = infos["final_info"] if same_step else infos
            paid[lanes] = worth(self._classifier, [last["text"][lane] for lane in lanes])
        task_reward = {"task_reward": np.asarray(rewards, dtype=np.float64)}
        going = stepped & ~ended if same_step else stepped
        infos = {**masked(task_reward, going), **infos}
        if same_step and len(lanes):
            infos["final_info"] = {**masked(task_reward, ended), **infos["final_info"]}
        return observations, paid, terminated, truncated, infos
