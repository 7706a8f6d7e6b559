"""The KL penalty as a reward: r - kl_coef (log pi - log pi0) of the token taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from klrl_envs.kl import k2, k3
from klrl_envs.reference.arrays import FloatArray, IntArray, LogProbs
from klrl_envs.reference.rows import TokenRows, shaped_array
from klrl_envs.wrappers.base import TokenVectorWrapper, masked, single

LogProb = Callable[[Any], Any]
"""Observations [N, ...] before the step -> log pi(.|s) float[N, V], normalised, in nats."""


def check_penalty(kl_coef: float) -> float:
    """A coefficient of at least 0 (KL is reported at 0 too)."""
    if not (math.isfinite(kl_coef) and kl_coef >= 0):
        raise ValueError(f"kl_coef must be a finite number of at least 0, got {kl_coef!r}")
    return float(kl_coef)


def check_array_space(space: gym.Space[Any]) -> None:
    """Raise TypeError unless observations are arrays, which is what ``log_prob`` is given."""
    if space.shape is None:
        raise TypeError(
            f"observations must be arrays, got {type(space).__name__}: put KLReward inside the wrapper that "
            "makes them, as ReferenceFeatures(KLReward(env, ...))"
        )


def measures(rows: TokenRows, reference: LogProbs, tokens: IntArray) -> dict[str, FloatArray]:
    """log pi and log pi0 of the tokens, exact KL, and k1, k2, k3, float64[K] each, nats."""
    log_prob = rows.log_prob(tokens)
    ratio = log_prob - reference[np.arange(len(tokens)), tokens]
    return {"log_prob": log_prob, "kl": rows.kl(reference), "k1": ratio, "k2": k2(ratio), "k3": k3(ratio)}


class KLReward(gym.Wrapper[Any, np.int64, Any, np.int64], gym.utils.RecordConstructorArgs):
    """Pays r - kl_coef (log pi - log pi0) of the token taken (k1, the estimator that is right in a reward).

    info has, in nats, ``log_prob`` of the token under the policy, the exact ``kl`` = KL(pi(.|s) || pi0(.|s))
    at the state before the step, ``k1``, ``k2``, ``k3``, and ``task_reward``, what the task paid. The
    penalty is detached: the policy's gradient is the algorithm's business.

    Args:
        env: an environment of klrl_envs.
        kl_coef: in units of reward per nat, at least 0. The attribute may be set while training (adaptive
            coefficients); an agent is scored at the environment's own all the same.
        log_prob: observations [1, ...] -> rows float[1, V], log pi(.|s) of the policy that acts.

    Raises:
        ValueError: kl_coef below 0; at a step, rows that are not distributions.
        TypeError: a vector environment (see ``VectorKLReward``).
    """

    def __init__(self, env: gym.Env[Any, Any], kl_coef: float, log_prob: LogProb) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, kl_coef=kl_coef, log_prob=log_prob)
        self._token_env = single(env, "KLReward", "VectorKLReward wraps it")
        super().__init__(env)
        check_array_space(env.observation_space)
        self.kl_coef = check_penalty(kl_coef)
        self._log_prob = log_prob
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> Any:
        """As the environment's, with the penalty in the reward."""
        if self._observation is None:
            raise RuntimeError("call reset before step")
        reference = self._token_env.reference_log_probs()
        rows = TokenRows(self._log_prob(self._observation[None]), reference.shape, "log_prob")
        observation, reward, terminated, truncated, info = self.env.step(action)
        found = measures(rows, reference, np.array([action], dtype=np.int64))
        self._observation = observation
        # an inner wrapper that changes the reward has said already what the task paid
        info = {"task_reward": reward, **info, **{name: float(value[0]) for name, value in found.items()}}
        paid = float(reward) - self.kl_coef * float(found["k1"][0])
        return observation, paid, terminated, truncated, info


class VectorKLReward(TokenVectorWrapper, gym.utils.RecordConstructorArgs):
    """``KLReward`` of N lanes; each key of info is an array [N] beside its mask ``_key``.

    The reset step of NEXT_STEP pays nothing and reports nothing; in SAME_STEP the values of an episode's
    last step are in ``final_info``.

    Args:
        env: a vector environment of klrl_envs.
        kl_coef: as for ``KLReward``.
        log_prob: observations [N, ...] -> rows float[N, V].
    """

    def __init__(self, env: Any, kl_coef: float, log_prob: LogProb) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, kl_coef=kl_coef, log_prob=log_prob)
        super().__init__(env)
        check_array_space(env.single_observation_space)
        self.kl_coef = check_penalty(kl_coef)
        self._log_prob = log_prob
        self._observations: Any = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        self._observations, infos = self.env.reset(seed=seed, options=options)
        return self._observations, infos

    def step(self, actions: Any) -> Any:
        """As the environment's, with the penalty in the rewards."""
        if self._observations is None:
            raise RuntimeError("call reset before step")
        stepped = ~self._token_env.engine.done
        reference = self._token_env.reference_log_probs()
        lanes = np.flatnonzero(stepped)
        rows = shaped_array(self._log_prob(self._observations), reference.shape, "log_prob")[lanes]
        checked = TokenRows(rows, (len(lanes), reference.shape[1]), "log_prob")
        tokens = np.asarray(actions, dtype=np.int64)
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        self._observations = observations
        found: dict[str, Any] = {"task_reward": rewards}
        for name, values in measures(checked, reference[lanes], tokens[lanes]).items():
            found[name] = np.zeros(len(stepped))
            found[name][lanes] = values
        paid = np.asarray(rewards, dtype=np.float64) - self.kl_coef * found["k1"]
        ended = terminated | truncated
        if self._token_env.autoreset_mode is not AutoresetMode.SAME_STEP:
            infos = infos | masked(found, stepped)
        else:
            infos = infos | (masked(found, stepped & ~ended) if not ended.all() else {})
            if ended.any():
                infos["final_info"] = infos["final_info"] | masked(found, ended)
        return observations, paid, terminated, truncated, infos
