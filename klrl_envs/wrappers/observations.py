"""Other things to observe: the reference's features, or the index of an exact task's state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from klrl_envs.envs.engine import Engine
from klrl_envs.envs.observation import observer_of
from klrl_envs.reference.arrays import IntArray
from klrl_envs.tasks.base import Task, require_exact
from klrl_envs.wrappers.base import TokenVectorWrapper, refuse_same_step, single


class StateNumbers:
    """The state (time, automaton state, context) of an exact task as one integer."""

    def __init__(self, task: Task, *, time: bool, context: bool) -> None:
        exact = require_exact(task, "StateIndex")
        self._time, self._context = time, context
        self._states = exact.automaton.states
        self._contexts = exact.reference.contexts if context else 1
        times = task.horizon + 1 if time else 1
        self.space: spaces.Space[Any] = spaces.Discrete(times * self._states * self._contexts)

    def of(self, engine: Engine) -> IntArray:
        """int64[N]: (time * states + state) * contexts + context."""
        index = engine.time * self._states if self._time else np.zeros_like(engine.time)
        index = (index + engine.state) * self._contexts
        return index + engine.context if self._context else index


class StateIndex(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe the state of an exact environment as a ``Discrete``, for tabular agents.

    The index is (time * Q + automaton state) * C + context, with times 0..T, Q states and C contexts
    of the reference. Together they are Markov: the optimum of the finite horizon is a table over them.

    Args:
        env: an exact environment of klrl_envs.
        time: hold the tokens written; False leaves it out (then it is not Markov).
        context: hold the context of the reference; False leaves it out (nothing is lost where the
            reference is uniform).

    Raises:
        TypeError: the environment is not exact.
    """

    def __init__(self, env: gym.Env[Any, Any], time: bool = True, context: bool = True) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, time=time, context=context)
        self._token_env = single(env, "StateIndex", "VectorStateIndex wraps it")
        super().__init__(env)
        self._numbers = StateNumbers(self._token_env.task, time=time, context=context)
        self.observation_space = self._numbers.space

    def observation(self, observation: Any) -> np.int64:
        """The index of the present state."""
        return self._numbers.of(self._token_env.engine)[0]


class ReferenceFeatures(gym.ObservationWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe the features of the features id, in place of the observation or beside it.

    Neural reference: its final normalised hidden state and the time left; exact task: state features,
    the time left and log pi0(.|s). float32.

    Args:
        env: an environment of klrl_envs.
        augment: observe a ``Dict`` of "observation" and "features" in place of the features alone.
    """

    def __init__(self, env: gym.Env[Any, Any], augment: bool = False) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, augment=augment)
        self._token_env = single(env, "ReferenceFeatures", "VectorReferenceFeatures wraps it")
        super().__init__(env)
        self._observer = observer_of(self._token_env.task, features=True)
        self._augment = augment
        self.observation_space = self._observer.space
        if augment:
            self.observation_space = beside(env.observation_space, self._observer.space)

    def observation(self, observation: Any) -> Any:
        """The features of the present state, and the observation where asked."""
        features = self._observer.observe(self._token_env.engine)[0]
        return {"observation": observation, "features": features} if self._augment else features


class VectorObservation(TokenVectorWrapper):
    """A vector wrapper whose observation is a function of the present state."""

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.observations(observations), infos

    def step(self, actions: Any) -> Any:
        """As the environment's."""
        observations, *rest = self.env.step(actions)
        return self.observations(observations), *rest

    def observations(self, observations: Any) -> Any:
        """What is shown in place of observations [N, ...]."""
        raise NotImplementedError

    def _show(self, space: spaces.Space[Any]) -> None:
        self.single_observation_space = space
        self.observation_space = batch_space(space, self.env.num_envs)


class VectorStateIndex(VectorObservation, gym.utils.RecordConstructorArgs):
    """``StateIndex`` of N lanes, int64[N].

    Raises:
        ValueError: autoreset mode SameStep, where the state of an ended episode is gone.
    """

    def __init__(self, env: Any, time: bool = True, context: bool = True) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, time=time, context=context)
        super().__init__(env)
        refuse_same_step(self._token_env, "VectorStateIndex", "")
        self._numbers = StateNumbers(self._token_env.task, time=time, context=context)
        self._show(self._numbers.space)

    def observations(self, observations: Any) -> IntArray:
        """Indices of the present states."""
        return self._numbers.of(self._token_env.engine)


class VectorReferenceFeatures(VectorObservation, gym.utils.RecordConstructorArgs):
    """``ReferenceFeatures`` of N lanes, float32[N, F].

    Raises:
        ValueError: autoreset mode SameStep, where the state of an ended episode is gone.
    """

    def __init__(self, env: Any, augment: bool = False) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, augment=augment)
        super().__init__(env)
        refuse_same_step(self._token_env, "VectorReferenceFeatures", ", and SameStep with the features id")
        self._observer = observer_of(self._token_env.task, features=True)
        self._augment = augment
        plain = env.single_observation_space
        self._show(beside(plain, self._observer.space) if augment else self._observer.space)

    def observations(self, observations: Any) -> Any:
        """Features of the present states, and the observations where asked."""
        features = self._observer.observe(self._token_env.engine)
        return {"observation": observations, "features": features} if self._augment else features


def beside(observation: spaces.Space[Any], features: spaces.Space[Any]) -> spaces.Dict:
    """The space of an observation and its features."""
    return spaces.Dict({"observation": observation, "features": features})
