"""What the wrappers ask of the environment under them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.reference.arrays import BoolArray


def single(env: Any, wrapper: str, other: str = "") -> TokenEnv:
    """The token environment under ``env``.

    Args:
        env: what is wrapped.
        wrapper: the wrapper's name, for errors.
        other: what to use on a vector environment.

    Raises:
        TypeError: it is a vector environment, or none of this package.
    """
    if isinstance(env, VectorEnv):
        hint = other or (
            f"gymnasium.make_vec(id, vectorization_mode='sync', wrappers=[...]) puts {wrapper} in each lane"
        )
        raise TypeError(f"{wrapper} wraps a single environment, got a vector environment; {hint}")
    unwrapped: Any = getattr(env, "unwrapped", env)
    if not isinstance(unwrapped, TokenEnv):
        raise TypeError(f"{wrapper} wraps an environment of klrl_envs, got {unwrapped!r}")
    return unwrapped


def vector(env: Any, wrapper: str) -> TokenVectorEnv:
    """The token vector environment under ``env``.

    Raises:
        TypeError: it is a single environment, or none of this package.
    """
    unwrapped: Any = getattr(env, "unwrapped", env)
    if not isinstance(unwrapped, TokenVectorEnv):
        hint = f"; {wrapper.removeprefix('Vector')} wraps it" if isinstance(unwrapped, TokenEnv) else ""
        raise TypeError(f"{wrapper} wraps a vector environment of klrl_envs, got {unwrapped!r}{hint}")
    return unwrapped


class TokenVectorWrapper(VectorWrapper):
    """A wrapper of a vector environment of klrl_envs.

    Raises:
        TypeError: it is a single environment, or none of this package.
    """

    env: Any  # Gymnasium leaves its type parameters open

    def __init__(self, env: Any) -> None:
        self._token_env = vector(env, type(self).__name__)
        super().__init__(env)  # pyright: ignore[reportUnknownMemberType]

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """The environment's: trainers look for it on what they are given; Gymnasium's wrappers hide it."""
        return self._token_env.autoreset_mode


def refuse_same_step(env: TokenVectorEnv, wrapper: str, instead: str) -> None:
    """Raise ValueError where the last state of an episode is gone before a wrapper sees it."""
    if env.autoreset_mode is AutoresetMode.SAME_STEP:
        raise ValueError(
            f"{wrapper} cannot give final_obs in autoreset mode SameStep, as the state of the ended episode "
            f"is gone by then; allowed are NextStep and Disabled{instead}"
        )


def masked(values: dict[str, NDArray[Any]], lanes: BoolArray) -> dict[str, Any]:
    """Gymnasium's layout of infos: each array [N], zero outside the lanes, beside its mask."""
    infos: dict[str, Any] = {}
    for name, array in values.items():
        infos[name] = np.where(lanes, array, 0.0)
        infos[f"_{name}"] = lanes.copy()
    return infos
