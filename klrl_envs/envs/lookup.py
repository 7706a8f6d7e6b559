"""The task behind an id or an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from klrl_envs.envs.observation import observer_of
from klrl_envs.registry import is_features_id, make_task
from klrl_envs.tasks.base import Task, check_split

EnvOrId = str | gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any]
"""An id, of features too, with or without ``klrl/``; or an environment of this package, single or vector,
wrapped or not (wrappers change what is seen and paid in training, never the task)."""


def evaluation_task(env_or_id: EnvOrId, arguments: Mapping[str, Any] | None = None) -> Task:
    """The task of an id or an environment, on its evaluation prompts.

    Args:
        env_or_id: see ``EnvOrId``.
        arguments: the environment's, with an id.

    Raises:
        ValueError: an unknown id, or an argument out of range.
        TypeError: not an environment of this package, or arguments beside a made environment.
    """
    given = dict(arguments or {})
    if isinstance(env_or_id, str):
        check_split(given.get("prompts", "evaluation"))
        return make_task(env_or_id, **{**given, "prompts": "evaluation"})
    task = getattr(getattr(env_or_id, "unwrapped", None), "task", None)
    if not isinstance(task, Task):
        raise TypeError(f"env_or_id must be an id or an environment of klrl_envs, got {env_or_id!r}")
    if given:
        raise TypeError(f"arguments go with an id; this environment is made already, got {sorted(given)}")
    return task if task.source is None else task.source.task(prompts="evaluation")


def shows_features(env_or_id: EnvOrId, task: Task) -> bool:
    """Whether an id, or an environment, is one whose observations are features."""
    if isinstance(env_or_id, str):
        return is_features_id(env_or_id)
    env: Any = env_or_id.unwrapped
    space = (
        env.single_observation_space if hasattr(env, "single_observation_space") else env.observation_space
    )
    return space != observer_of(task, features=False).space
