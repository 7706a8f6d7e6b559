"""What a task allows a policy to measure: its optimum, its frontier, the range of its reward."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.impossible import lines_above
from klrl_envs.optima.optimum import Optimum, optimum_of

LARGEST_ARGUMENT = 10_000
"""The largest whole number among arguments of which a record is checked: an optimum costs time and memory."""

CACHED_TASKS = 64
"""Tasks whose limits a process keeps: a few hundred numbers each."""


@dataclass(frozen=True)
class Edge:
    """J*(kl_coef) = max E[r] - kl_coef KL: no policy's point lies above this line of the reward-KL plane.

    Attributes:
        kl_coef: its slope, in units of reward per nat.
        value: J* there.
        error: its standard error; 0 where exact.
    """

    kl_coef: float
    value: float
    error: float


@dataclass(frozen=True)
class Limits:
    """What any policy can measure on a task, on its evaluation prompts.

    Attributes:
        optimum: J*, J0 and their errors, without the tables that they came from.
        reward_range: (low, high) of an episode's reward, without noise.
        horizon: the most tokens of a text.
        prompts: how many evaluation prompts there are; 1 where there are none.
        edges: the frontier; that of the task's own kl_coef is among them.
        sha256: the task's fingerprint.
    """

    optimum: Optimum
    reward_range: tuple[float, float]
    horizon: int
    prompts: int
    edges: tuple[Edge, ...]
    sha256: str

    @property
    def spread(self) -> float:
        """high - low of the reward."""
        return self.reward_range[1] - self.reward_range[0]


@lru_cache(maxsize=CACHED_TASKS)
def limits_of(env_id: str, settings: str = "{}") -> Limits:
    """The limits of a task, which is solved once: in seconds where it is exact, else from its certificate.

    Args:
        env_id: the environment.
        settings: its arguments as a JSON object.

    Raises:
        ValueError: an unknown id, arguments that make no task, or a task whose optimum nobody certified.
    """
    arguments = json.loads(settings)
    for name, value in arguments.items():
        if isinstance(value, (int, float)) and abs(value) > LARGEST_ARGUMENT:
            raise ValueError(
                f"env_kwargs.{name} must be at most {LARGEST_ARGUMENT:,} to be checked, not {value}"
            )
    try:
        task = evaluation_task(env_id, arguments)
        best = optimum_of(task)
    except (TypeError, LookupError, OSError, OverflowError, MemoryError) as error:
        raise ValueError(f"env_kwargs {settings} of {env_id} lead to no optimum: {error}") from error
    return Limits(
        optimum=replace(best, policy=None, certificate=None),
        reward_range=task.mean_reward_range,
        horizon=task.horizon,
        prompts=len(task.prompts.tokens),
        edges=edges(best),
        sha256=task.fingerprint,
    )


def edges(best: Optimum) -> tuple[Edge, ...]:
    """The frontier around an optimum's kl_coef, where it can be trusted."""
    own = Edge(best.kl_coef, best.value, best.value_stderr)
    return own, *(Edge(*line) for line in lines_above(best))
