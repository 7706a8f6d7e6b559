"""``TokenVectorEnv``: the engine with N lanes, as a ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from klrl_envs.envs.engine import Engine, StepResult
from klrl_envs.envs.initial_policy import initial_policy_of
from klrl_envs.envs.observation import observer_of
from klrl_envs.envs.token_env import checked_render_mode, prompt_option
from klrl_envs.reference.arrays import BoolArray, FloatArray, LogProbs
from klrl_envs.registry import make_task
from klrl_envs.tasks.base import Task


class TokenVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """N episodes of text side by side; lane i behaves as ``TokenEnv`` seeded with seed + i.

    Args:
        task, features, reference_log_prob, render_mode, task_arguments: as ``TokenEnv``'s.
        num_envs: lanes, N.
        autoreset_mode: an ``AutoresetMode`` or its name ("NextStep", "SameStep", "Disabled").
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        task: str | Task,
        num_envs: int = 1,
        *,
        features: bool = False,
        reference_log_prob: str = "step",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **task_arguments: Any,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        self.num_envs = num_envs
        self.task = make_task(task, **task_arguments) if isinstance(task, str) else task
        self.kl_coef, self.initial_policy = self.task.kl_coef, initial_policy_of(self.task)
        self.autoreset_mode = as_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.engine = Engine(self.task, num_envs, reference_log_prob)
        self._observer = observer_of(self.task, features=features)
        actions: spaces.Space[Any] = spaces.Discrete(self.task.vocab_size)
        self.single_action_space, self.action_space = actions, batch_space(actions, num_envs)
        observations = self._observer.space
        self.single_observation_space = observations
        self.observation_space = batch_space(observations, num_envs)
        self._every_lane = np.arange(num_envs)
        self._generators: list[np.random.Generator | None] = [None] * num_envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin episodes in all lanes, or in those of ``options={"reset_mask": bool [N]}``."""
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        lanes = self._every_lane[mask]
        self.engine.reset(lanes, prompt_option(options))
        return self._observer.observe(self.engine), self._reset_infos(mask)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[Any], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Write one token in each lane; ended lanes restart as the autoreset mode says."""
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions must have shape ({self.num_envs},), got {actions.shape}")
        engine = self.engine
        waiting = engine.done.copy()
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP or not waiting.any():
            result = engine.step(actions)
            infos = self._infos(result, ~waiting)
        else:
            lanes = np.flatnonzero(waiting)
            result = engine.step(actions, ~waiting)
            infos = self._infos(result, ~waiting)
            engine.reset(lanes)
            infos = joined(infos, self._reset_infos(waiting))
        if self.autoreset_mode is AutoresetMode.SAME_STEP and len(result.finished):
            infos = self._final(result, infos)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observer.observe(engine), result.reward, result.terminated, truncated, infos

    def reference_log_probs(self) -> LogProbs:
        """log pi0(.|s) [N, V] in nats at the current states."""
        return self.engine.reference_log_probs()

    def agent_mask(self) -> BoolArray:
        """bool [N, L], which tokens of the texts so far the agent wrote: see ``Engine.agent_mask``."""
        return self.engine.agent_mask()

    def render(self) -> tuple[Any, ...] | None:
        """A frame of each lane."""
        from klrl_envs.envs import rendering

        if self.render_mode is None:
            return None
        frame = rendering.as_text if self.render_mode == "ansi" else rendering.as_pixels
        return tuple(frame(self.engine, lane) for lane in range(self.num_envs))

    def _reset_mask(self, options: dict[str, Any] | None) -> BoolArray:
        """Which lanes a reset is for; all by default."""
        if options is None or "reset_mask" not in options:
            return np.ones(self.num_envs, dtype=np.bool_)
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must be a bool array of shape ({self.num_envs},) with a True, "
                f"got {mask.dtype} {mask.shape} with {int(mask.sum())} True"
            )
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, mask: BoolArray) -> None:
        """Seed lane i of the mask with seed + i, or seed[i], as Gymnasium's sync vectorisation does."""
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
        seeds = [None] * self.num_envs if seed is None else seed
        if isinstance(seeds, (int, np.integer)):
            seeds = [int(seeds) + lane for lane in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must be an int or have {self.num_envs} entries, got {len(seeds)}")
        for lane in np.flatnonzero(mask).tolist():
            if seeds[lane] is not None or self._generators[lane] is None:
                generator, _ = np_random(seeds[lane])
                self._generators[lane] = generator
                self.engine.seed(lane, generator)

    def _reset_infos(self, mask: BoolArray) -> dict[str, Any]:
        infos = self._environment_tokens(mask)
        if self.task.prompt_length:
            infos |= {"prompt": np.where(mask, self.engine.prompt_index, 0), "_prompt": mask}
        return infos

    def _environment_tokens(self, mask: BoolArray) -> dict[str, Any]:
        """What the task has just written in those lanes [N], int64 [N, R]; nothing where it was silent."""
        told = self.engine.environment_tokens
        if told is None:
            return {}
        mask = mask & (told[:, 0] != self.task.pad)
        if not mask.any():
            return {}
        return {"environment_tokens": np.where(mask[:, None], told, 0), "_environment_tokens": mask}

    def _infos(self, result: StepResult, stepped: BoolArray) -> dict[str, Any]:
        """Gymnasium's layout: each key an array [N, ...] beside a mask ``_key`` [N]."""
        infos: dict[str, Any] = {}
        if result.reference_log_prob is not None:
            infos |= {"reference_log_prob": result.reference_log_prob, "_reference_log_prob": stepped}
        infos |= self._environment_tokens(stepped)
        for name, values in result.metrics.items():
            array, mask = infos.get(name), infos.get(f"_{name}")
            if array is None or mask is None:
                empty = None if values.dtype == object else 0
                array = np.full((self.num_envs, *values.shape[1:]), empty, dtype=values.dtype)
                mask = np.zeros(self.num_envs, dtype=np.bool_)
            array[result.finished] = values
            mask[result.finished] = True
            infos |= {name: array, f"_{name}": mask}
        return infos

    def _final(self, result: StepResult, infos: dict[str, Any]) -> dict[str, Any]:
        """SAME_STEP: move the last step of finished lanes to ``final_obs``, ``final_info``; reset them."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        observations = self._observer.observe(self.engine, result.finished)
        for place, lane in enumerate(result.finished.tolist()):
            final_obs[lane] = observations[place]
        final_info: dict[str, Any] = {}
        running: dict[str, Any] = {}
        for name in [key for key in infos if not key.startswith("_")]:
            array, mask = infos[name], infos[f"_{name}"]
            ended = mask & result.terminated
            final_info |= {name: np.where(spread(ended, array), array, empty_like(array)), f"_{name}": ended}
            going = mask & ~result.terminated
            if going.any():
                running |= {name: np.where(spread(going, array), array, empty_like(array)), f"_{name}": going}
        self.engine.reset(result.finished)
        final = {
            "final_obs": final_obs,
            "_final_obs": result.terminated,
            "final_info": final_info,
            "_final_info": result.terminated,
        }
        return final | joined(running, self._reset_infos(result.terminated))


def joined(infos: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Infos of two sets of lanes that have none in common."""
    result = {**others, **infos}
    for name in [key for key in infos if key in others and not key.startswith("_")]:
        mask = infos[f"_{name}"]
        result[name] = np.where(spread(mask, infos[name]), infos[name], others[name])
        result[f"_{name}"] = mask | others[f"_{name}"]
    return result


def spread(mask: BoolArray, array: NDArray[Any]) -> BoolArray:
    """A mask [N] shaped to broadcast against an array [N, ...]."""
    return mask.reshape(-1, *[1] * (array.ndim - 1))


def empty_like(array: NDArray[Any]) -> Any:
    """What Gymnasium puts where a lane has no such info: None for objects, else zero."""
    return None if array.dtype == object else array.dtype.type(0)


def as_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """The enum of a mode's value or name, in any case: "NextStep", "next_step", "SAME_STEP", ..."""
    if isinstance(mode, AutoresetMode):
        return mode
    wanted = str(mode).replace("_", "").lower()
    for candidate in AutoresetMode:
        if candidate.name.replace("_", "").lower() == wanted:
            return candidate
    allowed = [candidate.value for candidate in AutoresetMode]
    raise ValueError(f"autoreset_mode must be one of {allowed}, got {mode!r}")
