"""Stable-Baselines3: callbacks that pay the KL and that say the score, and an adapter for the native vector
environment.

    from stable_baselines3 import PPO
    from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv

    env = SB3VecEnv("klrl/KeywordsFeatures-v0", num_envs=64)
    model = PPO("MlpPolicy", env, gamma=1.0, ent_coef=0.0, normalize_advantage=False)
    model.learn(1_000_000, callback=KLCallback())

``ent_coef = kl_coef`` with log pi0 in the reward is another objective: SB3 adds the entropy of the visited
state to the loss, and leaves the entropy still to come out of the return. Hence the callback.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray

try:
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
except ImportError as error:
    raise ImportError(
        "klrl_envs.integrations.sb3 needs stable-baselines3: pip install 'klrl-envs[agents]'"
    ) from error

from klrl_envs.envs.vector_env import TokenVectorEnv, as_autoreset_mode
from klrl_envs.integrations.scores import Scores, undisturbed
from klrl_envs.kl import check_kl_coef
from klrl_envs.policies import SB3Policy
from klrl_envs.registry import find_row
from klrl_envs.wrappers.episodes import Episode, append_line, checked_path, metrics_of


class KLCallback(BaseCallback):
    """Pays r - kl_coef (log pi - log pi0) of the token taken, in the rollout of an on-policy algorithm.

    ``collect_rollouts`` calls callbacks after the environment's step and before the rewards enter the
    buffer; the array of rewards is edited in place with the log-probs that the rollout has computed. KL is
    therefore k1, detached, inside the return, which is the objective's gradient.

    Args:
        kl_coef: reward per nat; the environment's own by default.
        record: a file that gets a line for each finished episode, as ``Recorder`` writes it; its folder must
            be there.

    Attributes:
        ended: the episodes that this step has ended, by lane.

    Raises (when training starts):
        TypeError: the algorithm is not on-policy, so that its rollout has no log-probs.
        ValueError: gamma is not 1, ent_coef is not 0, or rewards are normalised.
    """

    def __init__(
        self, kl_coef: float | None = None, verbose: int = 0, *, record: str | Path | None = None
    ) -> None:
        super().__init__(verbose)
        self.kl_coef = None if kl_coef is None else check_kl_coef(kl_coef)
        self.ended: list[Episode] = []
        self._record = None if record is None else checked_path(record)
        self._episodes = 0
        self._in_rollout: list[float] = []

    def _on_training_start(self) -> None:
        model = self.model
        if not isinstance(model, OnPolicyAlgorithm):
            raise TypeError(
                f"KLCallback needs an on-policy algorithm (PPO, A2C), got {type(model).__name__}: "
                "only those have the policy's log-probs in their rollouts; use the KLReward wrapper"
            )
        if model.gamma != 1:
            raise ValueError(f"gamma must be 1 (nothing is discounted here), got {model.gamma}")
        if model.ent_coef != 0:
            raise ValueError(
                f"ent_coef must be 0, got {model.ent_coef}: the KL to the reference is paid by this callback"
            )
        env: Any = self.training_env
        while isinstance(env, VecEnvWrapper):
            if isinstance(env, VecNormalize) and env.norm_reward:
                raise ValueError("VecNormalize must have norm_reward=False, got True: it rescales kl_coef")
            env = env.venv
        if getattr(model, "normalize_advantage", False):
            warnings.warn(
                "normalize_advantage=True rescales the objective by batch; pass normalize_advantage=False",
                stacklevel=2,
            )
        if self.kl_coef is None:
            declared = set(self.training_env.get_attr("kl_coef"))
            if len(declared) != 1:
                raise ValueError(f"the environments must share one kl_coef, got {sorted(declared)}")
            self.kl_coef = check_kl_coef(declared.pop())
        lanes = self.training_env.num_envs
        self._nats, self._log_probs, self._rewards = np.zeros((3, lanes))
        self._lengths = np.zeros(lanes, dtype=np.int64)
        self._prompts = [info.get("prompt") for info in self.training_env.reset_infos]

    def _on_step(self) -> bool:
        rewards = self.locals["rewards"]
        if not np.issubdtype(rewards.dtype, np.floating):
            raise TypeError(f"rewards must be floating point to be edited in place, got {rewards.dtype}")
        infos = self.locals["infos"]
        try:
            reference = np.array([info["reference_log_prob"] for info in infos])
        except KeyError:
            raise KeyError(
                "infos lack 'reference_log_prob': make the environment with reference_log_prob='step'"
            ) from None
        log_probs = self.locals["log_probs"].double().cpu().numpy()
        log_ratio = log_probs - reference
        self._rewards += rewards
        self._nats += log_ratio
        self._log_probs += log_probs
        self._lengths += 1
        rewards -= self.kl_coef * log_ratio
        ended = np.asarray(self.locals["dones"])
        self.ended = [self._episode(lane, infos[lane]) for lane in np.flatnonzero(ended).tolist()]
        for sums in (self._nats, self._log_probs, self._rewards, self._lengths):
            sums[ended] = 0
        for episode in self.ended:
            self._in_rollout.append(float(episode.k1 or 0.0))
            if self._record is not None:
                append_line(self._record, episode.line())
        return True

    def _episode(self, lane: int, info: dict[str, Any]) -> Episode:
        """A lane's episode, which has ended; the lane has its next prompt already."""
        assert self.kl_coef is not None
        reward, nats = float(self._rewards[lane]), float(self._nats[lane])
        prompt, self._prompts[lane] = self._prompts[lane], self.training_env.reset_infos[lane].get("prompt")
        self._episodes += 1
        return Episode(
            episode=self._episodes - 1,
            tokens=self.num_timesteps,
            text=info.get("text"),
            task_reward=reward,
            paid=reward - self.kl_coef * nats,
            length=int(self._lengths[lane]),
            k1=nats,
            log_prob=float(self._log_probs[lane]),
            lane=lane,
            prompt=prompt,
            metrics=metrics_of(info),
        )

    def _on_rollout_end(self) -> None:
        if self._in_rollout:
            self.logger.record("klrl/kl_nats", float(np.mean(self._in_rollout)))
        self._in_rollout = []


class ScoreCallback(BaseCallback):
    """Evaluates the policy before the training, every so many steps, and at the end.

    Logs klrl/score, klrl/expected_reward, klrl/kl and klrl/objective to the algorithm's logger, and so to
    TensorBoard where it has a ``tensorboard_log``. The training is what it would be without. To look is free;
    see ``klrl_envs.integrations.scores`` for what choosing by it means.

    Args:
        every: steps of the training between evaluations, over all lanes.
        episodes: of each, rounded up to a multiple of the evaluation prompts.
        out: a file that gets a line of JSON for each: steps, training tokens that the ledger has counted,
            score with its interval, expected reward, KL, objective, episodes, their tokens, seed.

    Attributes:
        scores: ``scores.latest`` is the last ``Evaluation``.

    Raises:
        ValueError: every or episodes below 1, a folder that is not there, or (when training starts)
            observations that are normalised.
        TypeError (when training starts): not an environment of klrl_envs, or a model without a distribution.
    """

    def __init__(
        self, every: int = 50_000, episodes: int = 256, out: str | Path | None = None, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        self.scores = Scores(every, episodes, out)

    def _on_training_start(self) -> None:
        env: Any = self.training_env
        while isinstance(env, VecEnvWrapper):
            if isinstance(env, VecNormalize) and env.norm_obs:
                raise ValueError(
                    "VecNormalize must have norm_obs=False, got True: evaluations show them plain"
                )
            env = env.venv
        self._policy = SB3Policy(self.model)
        self._env = self.training_env.get_attr("unwrapped", indices=0)[0]
        self.scores.begin()
        self._look()

    def _on_step(self) -> bool:
        self._look()
        return True

    def _on_training_end(self) -> None:
        self._look(last=True)

    def _look(self, *, last: bool = False) -> None:
        if not self.scores.due(self.num_timesteps, last=last):
            return
        with undisturbed(self.model.policy):
            numbers = self.scores.evaluate(self._policy, self._env, self.num_timesteps)
        for name, value in numbers.items():
            self.logger.record(name, value)
        self.logger.dump(self.num_timesteps)
        if self.verbose:
            print(f"{self.num_timesteps:,} tokens: " + ", ".join(f"{k} {v:.4g}" for k, v in numbers.items()))


class SB3VecEnv(VecEnv):
    """A ``TokenVectorEnv`` as Stable-Baselines3's ``VecEnv``: one engine, no process, no loop over lanes.

    Args:
        env: an id, or a ``TokenVectorEnv`` in autoreset mode SAME_STEP, which is what SB3 expects.
        num_envs: lanes, where ``env`` is an id.
        **kwargs: the environment's own, where ``env`` is an id.

    On its last step a lane's info has ``terminal_observation``, the environment's metrics, ``episode`` (r,
    l, t as SB3's Monitor reports them; r is the task's reward, without KL) and ``TimeLimit.truncated``,
    which is always False: the length limit is part of the task.
    """

    def __init__(self, env: TokenVectorEnv | str, num_envs: int | None = None, **kwargs: Any) -> None:
        if isinstance(env, str):
            find_row(env)
            env = (
                cast(Any, gym)
                .make_vec(
                    env,
                    num_envs=1 if num_envs is None else num_envs,
                    vectorization_mode="vector_entry_point",
                    autoreset_mode="SameStep",
                    **kwargs,
                )
                .unwrapped
            )
        elif kwargs or num_envs is not None:
            raise TypeError("num_envs and the environment's arguments go with an id, not with an environment")
        if not isinstance(env, TokenVectorEnv):
            raise TypeError(f"env must be an id or a TokenVectorEnv, got {type(env).__name__}")
        if env.autoreset_mode is not as_autoreset_mode("SameStep"):
            raise ValueError(f"autoreset_mode must be 'SameStep' for SB3, got {env.autoreset_mode.value!r}")
        self.env = env
        self._actions = np.zeros(env.num_envs, dtype=np.int64)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._started = time.time()
        untyped = cast(Any, env)  # its spaces
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            env.num_envs, untyped.single_observation_space, untyped.single_action_space
        )

    def reset(self) -> NDArray[Any]:
        """Begin an episode in every lane; lane i is seeded with what ``seed`` said plus i, once."""
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        options = [options for options in self._options if options]
        if options and any(one != options[0] for one in self._options):
            raise ValueError(f"options must be the same in all lanes, got {self._options}")
        observations, infos = self.env.reset(seed=seeds, options=options[0] if options else None)
        self.reset_infos = self._lanes_of(infos)
        self._returns[:] = 0
        self._lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float32], BoolArray, list[dict[str, Any]]]:
        """Observations, rewards float32 [N] (a copy of its own, as callbacks edit it), ends and infos."""
        observations, rewards, terminated, _, infos = self.env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        lanes = self._lanes_of(infos)
        if terminated.any():
            final = self._lanes_of(infos["final_info"])
            for lane in np.flatnonzero(terminated):
                self.reset_infos[lane] = {k: v for k, v in lanes[lane].items() if k != "reference_log_prob"}
                lanes[lane] = final[lane] | {
                    "terminal_observation": infos["final_obs"][lane],
                    "TimeLimit.truncated": False,
                    "episode": {
                        "r": float(self._returns[lane]),
                        "l": int(self._lengths[lane]),
                        "t": round(time.time() - self._started, 6),
                    },
                }
            self._returns[terminated] = 0
            self._lengths[terminated] = 0
        return observations, rewards.astype(np.float32), terminated.copy(), lanes

    def _lanes_of(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        """Gymnasium's info arrays with their masks, as one dict per lane."""
        lanes: list[dict[str, Any]] = [{} for _ in range(self.env.num_envs)]
        for name, values in infos.items():
            if name.startswith("_") or name in ("final_obs", "final_info"):
                continue
            listed = values.tolist() if values.ndim == 1 else values
            for lane in np.flatnonzero(infos[f"_{name}"]):
                lanes[lane][name] = listed[lane]
        return lanes

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The one environment's attribute, once for each of the lanes asked for."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the one environment, for all lanes at once.

        Raises:
            ValueError: ``indices`` names some lanes only.
        """
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"indices must be None, as the lanes share their attributes, got {indices!r}")
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method once; of an array with one entry per lane, each lane asked for gets its own."""
        result: Any = getattr(self.env, method_name)(*args, **kwargs)
        by_lane = isinstance(result, np.ndarray) and np.shape(cast(Any, result))[:1] == (self.num_envs,)
        return [result[lane] if by_lane else result for lane in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """False, but for ``Monitor``, whose ``episode`` this adapter reports itself."""
        from stable_baselines3.common.monitor import Monitor

        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A picture of each lane in render mode "rgb_array"."""
        frames = self.env.render() if self.env.render_mode == "rgb_array" else None
        return [None] * self.num_envs if frames is None else list(frames)
