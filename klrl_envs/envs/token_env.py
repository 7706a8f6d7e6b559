"""``TokenEnv``: the engine with one lane, as a ``gymnasium.Env``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from klrl_envs.envs.engine import Engine
from klrl_envs.envs.initial_policy import initial_policy_of
from klrl_envs.envs.observation import observer_of
from klrl_envs.reference.arrays import BoolArray, LogProbs
from klrl_envs.registry import make_task
from klrl_envs.tasks.base import Task

ONE_LANE = np.zeros(1, dtype=np.int64)


class TokenEnv(gym.Env[NDArray[Any], np.int64]):
    """An episode of text, one token per action. See the task's own page (``klrl show ID``).

    Args:
        task: a registry id such as ``"Keywords-v0"``, or a ``Task``.
        features: observe the float32 features of the task's features id.
        reference_log_prob: "step" (in info at each step) or "end" (all of them at the last step).
        render_mode: "ansi", "rgb_array", or "human" (a window).
        **task_arguments: the task's own (kl_coef, horizon, reference, prompts, ...).

    ``initial_policy`` is where agents must start, as a policy for ``klrl_envs.evaluate``; None where that is
    the reference.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array", "human"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        task: str | Task,
        *,
        features: bool = False,
        reference_log_prob: str = "step",
        render_mode: str | None = None,
        **task_arguments: Any,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        self.task = make_task(task, **task_arguments) if isinstance(task, str) else task
        self.kl_coef, self.initial_policy = self.task.kl_coef, initial_policy_of(self.task)
        self.engine = Engine(self.task, 1, reference_log_prob)
        self._observer = observer_of(self.task, features=features)
        self.action_space = spaces.Discrete(self.task.vocab_size)
        self.observation_space = self._observer.space
        self._window: Any = None
        self._last_reward: float | None = None
        self._seeded = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin an episode; ``options={"prompt": i}`` picks the prompt."""
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.engine.seed(0, self.np_random)
            self._seeded = True
        self.engine.reset(ONE_LANE, prompt_option(options))
        self._last_reward = None
        self._show()
        return self._observer.observe(self.engine)[0], self._reset_info()

    def step(self, action: Any) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Write one token. The reward is the task's alone; KL is the caller's to pay (``KLReward``).

        Where the task writes tokens itself, info has them as ``environment_tokens`` on the steps, and at the
        resets, at which it does.
        """
        result = self.engine.step(np.array([action]))
        info: dict[str, Any] = {}
        if result.reference_log_prob is not None:
            info["reference_log_prob"] = float(result.reference_log_prob[0])
        info |= self._environment_tokens()
        for name, values in result.metrics.items():
            info[name] = values[0].item() if isinstance(values[0], np.generic) else values[0]
        self._last_reward = float(result.reward[0])
        self._show()
        terminated = bool(result.terminated[0])
        return self._observer.observe(self.engine)[0], self._last_reward, terminated, False, info

    def reference_log_probs(self) -> LogProbs:
        """log pi0(.|s) [1, V] in nats at the current state."""
        return self.engine.reference_log_probs()

    def agent_mask(self) -> BoolArray:
        """bool [1, L], which tokens of the text so far the agent wrote: see ``Engine.agent_mask``."""
        return self.engine.agent_mask()

    def render(self) -> Any:
        """The text or the grid so far: a str, an image uint8 [H, W, 3], or None (window)."""
        from klrl_envs.envs import rendering

        if self.render_mode == "ansi":
            return rendering.as_text(self.engine, 0)
        if self.render_mode == "rgb_array":
            return rendering.as_pixels(self.engine, 0, self._last_reward)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        from klrl_envs.envs import rendering

        if self._window is None:
            self._window = rendering.Window(f"klrl {self.task.id}", self.metadata["render_fps"])
        self._window.show(rendering.as_pixels(self.engine, 0, self._last_reward))

    def _reset_info(self) -> dict[str, Any]:
        prompt = {"prompt": int(self.engine.prompt_index[0])} if self.task.prompt_length else {}
        return prompt | self._environment_tokens()

    def _environment_tokens(self) -> dict[str, Any]:
        """What the task has just written, int64 [R] padded with ``task.pad``; nothing where it was silent."""
        told = self.engine.environment_tokens
        if told is None or told[0, 0] == self.task.pad:
            return {}
        return {"environment_tokens": told[0].copy()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}


def checked_render_mode(render_mode: str | None, metadata: dict[str, Any]) -> str | None:
    """A render mode that an environment has, or None; ValueError for another."""
    allowed = metadata["render_modes"]
    if render_mode is not None and render_mode not in allowed:
        raise ValueError(f"render_mode must be None or one of {allowed}, got {render_mode!r}")
    return render_mode


def prompt_option(options: dict[str, Any] | None) -> int | None:
    """The prompt that reset options ask for, or None.

    Raises:
        ValueError: an option that no environment of this package knows.
    """
    options = options or {}
    unknown = set(options) - {"prompt", "reset_mask"}
    if unknown:
        raise ValueError(f"options may have the keys 'prompt' and 'reset_mask', got {sorted(unknown)}")
    return options.get("prompt")
