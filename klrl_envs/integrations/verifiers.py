"""verifiers: an environment's prompts and reward as a taskset, for evaluations and for trainers that read it.

    import verifiers.v1 as vf
    from klrl_envs.integrations.verifiers import EnvironmentConfig, EnvironmentTaskset

    taskset = EnvironmentTaskset(EnvironmentConfig(env_id="klrl/Sentiment-v0"))
    trace = await vf.Agent(vf.AgentConfig(model=..., client=...)).run(next(iter(taskset)))
    trace.rewards  # the environment's, of the model's last reply

Its command line finds a taskset by the name of a module without dots: a file ``klrl_taskset.py`` that imports
the class and has ``__all__ = ["EnvironmentTaskset"]`` is ``klrl-taskset`` there.

A reply is the text that follows the prompt. The KL is not in the reward: the trainer takes it, at the
``kl_coef`` that the task's data name, and pi0 is the environment's reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import Field

try:
    import verifiers.v1 as vf
except ImportError as error:
    raise ImportError(
        "klrl_envs.integrations.verifiers needs verifiers: pip install 'klrl-envs[verifiers]'"
    ) from error

from klrl_envs.integrations.trl import RewardFunction, as_reward_fn
from klrl_envs.registry import find_row

__all__ = ["EnvironmentConfig", "EnvironmentData", "EnvironmentTask", "EnvironmentTaskset"]


class EnvironmentConfig(vf.TasksetConfig):
    """Which environment: an id, and its arguments (``prompts`` among them, "train" by default)."""

    env_id: str = "klrl/Sentiment-v0"
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class EnvironmentData(vf.TaskData):
    """A prompt of an environment: the text that a reply continues, empty where there is none."""

    env_id: str
    arguments: dict[str, Any]
    begun: str
    kl_coef: float
    """Reward per nat, which a trainer takes."""


class EnvironmentTask(vf.Task[EnvironmentData, vf.State, vf.TaskConfig]):
    """A prompt, with the environment's reward of what is written behind it."""

    @vf.reward
    async def environment_reward(self, task: EnvironmentData, trace: vf.Trace) -> float:
        """What the last reply is worth, up to the horizon."""
        [paid] = reward_function(task.env_id, json.dumps(task.arguments))([task.begun], [trace.last_reply])
        return paid


class EnvironmentTaskset(vf.Taskset[EnvironmentTask, EnvironmentConfig]):
    """The prompts of an environment; where it has none, one task that says in words what it asks."""

    def load(self) -> Iterator[EnvironmentTask]:
        """One task for each prompt."""
        config = self.config
        task = reward_function(config.env_id, json.dumps(config.arguments)).task
        for place, tokens in enumerate(task.prompts.tokens):
            begun = task.text(tokens)
            data = EnvironmentData(
                name=f"{config.env_id}#{place}",
                prompt=begun or find_row(config.env_id).summary,
                env_id=config.env_id,
                arguments=config.arguments,
                begun=begun,
                kl_coef=task.kl_coef,
            )
            yield EnvironmentTask(data, config.task)


@lru_cache(maxsize=8)
def reward_function(env_id: str, arguments: str) -> RewardFunction:
    """The reward of texts; ``arguments`` is JSON. A task that crossed into another process makes it there."""
    return as_reward_fn(env_id, **json.loads(arguments))
