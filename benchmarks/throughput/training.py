"""How fast learners of exact tasks train, and what SB3 loses to the environment.

ppo, reinforce and sb3_ppo run as the commands that anybody runs, on Keywords-v0; their speed is that of the
lines of progress.jsonl, from the first to the last. Beside them stand the matrix products alone of what ppo
and reinforce do to one batch, were every step computed for itself: as steps of equal state and time share
their products, a learner may come near it.

SB3's own PPO runs on the features id, with ``KLCallback``, and on an environment of the same spaces that
does nothing, with the same networks and settings: what it loses is all of ours. Two commits are compared by
the same commands, run in turn:

    git worktree add ../before COMMIT
    for tree in ../before . ../before . ../before .; do
        (cd $tree && python -m agents.ppo --env-id klrl/Keywords-v0 --tokens 60000 --episodes 64 \\
            --threads 1 --out /tmp/speed && tail -n 1 /tmp/speed/progress.jsonl)
    done
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ENV_ID = "klrl/Keywords-v0"
AGENTS = ("ppo", "reinforce", "sb3_ppo")
TOKENS = 60_000
LANES, STEPS, MINIBATCH, EPOCHS = 256, 24, 1024, 4
"""Of SB3's PPO, as agents.sb3_ppo has them."""
ROLLOUTS = 1
BAR = 0.95


def trained(agent: str, tokens: int = TOKENS) -> float:
    """Tokens/s of a training by an agent's command."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", f"agents.{agent}", "--env-id", ENV_ID, "--tokens", str(tokens)]
        subprocess.run([*command, "--episodes", "64", "--out", out], check=True, capture_output=True)
        lines = (Path(out) / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def products(sizes: Sequence[int], rows: int, *, backward: bool) -> float:
    """Seconds of the products of a network's layers on rows, with those of their gradients or without."""
    import torch

    weights = [torch.rand(before, after) for before, after in pairwise(sizes)]
    values = [torch.rand(rows, size) for size in sizes]
    started = time.perf_counter()
    for place, weight in enumerate(weights):
        _ = values[place] @ weight
        if backward:
            _ = values[place].T @ values[place + 1]
            _ = values[place + 1] @ weight.T if place else None
    return time.perf_counter() - started


def products_alone() -> dict[str, float]:
    """Tokens/s of the products of ppo (64 episodes, 4 steps of the optimizer on 32) and reinforce (32)."""
    import klrl_envs

    task: Any = klrl_envs.make_task(ENV_ID.removeprefix("klrl/"))
    horizon, inputs = task.horizon, task.state_features.shape[1] + 9
    actor, critic = (inputs, 128, 128, task.vocab_size), (inputs, 128, 128, 1)
    seconds = {
        "ppo": sum(products(actor, 64, backward=False) for _ in range(horizon))
        + sum(products(actor, 32 * horizon, backward=True) for _ in range(4))
        + sum(products(critic, 32 * horizon, backward=True) for _ in range(8))
        + products(critic, 64 * horizon, backward=False),
        "reinforce": sum(products(actor, 32, backward=False) for _ in range(horizon))
        + products(actor, 32 * horizon, backward=True),
    }
    episodes = {"ppo": 64, "reinforce": 32}
    return {f"{name}: products": episodes[name] * horizon / seconds[name] for name in seconds}


def idle_env(observation_space: Any, action_space: Any, observations: Any) -> Any:
    """SB3's ``VecEnv`` that gives the same observations [N, D] for ever, no reward and no end."""
    from stable_baselines3.common.vec_env import VecEnv

    class Idle(VecEnv):
        """An environment that does nothing."""

        def __init__(self) -> None:
            self._still = np.zeros(len(observations), dtype=np.float32), np.zeros(len(observations), bool)
            self._infos: list[dict[str, Any]] = [{} for _ in observations]
            super().__init__(len(observations), observation_space, action_space)

        def reset(self) -> Any:
            return observations

        def step_async(self, actions: Any) -> None:
            """Nothing."""

        def step_wait(self) -> Any:
            return observations, *self._still, self._infos

        def close(self) -> None:
            """Nothing."""

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None for _ in self._get_indices(indices)]

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError(f"nothing to set in an idle environment, got {attr_name!r}")

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            raise NotImplementedError(f"nothing to call in an idle environment, got {method_name!r}")

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False for _ in self._get_indices(indices)]

    return Idle()


def sb3_sides() -> dict[str, Callable[[], float]]:
    """SB3's PPO on Keywords-v0 with the KL paid, and on the idle environment; each call trains, tokens/s."""
    from stable_baselines3 import PPO

    from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv

    env = SB3VecEnv(ENV_ID.replace("-v0", "Features-v0"), num_envs=LANES)
    env.seed(0)
    shown = env.reset()
    idle = idle_env(env.observation_space, env.action_space, shown)
    sides: dict[str, Callable[[], float]] = {}
    for name, side, callback in (
        ("SB3 on Keywords-v0", env, KLCallback()),
        ("SB3 on the idle env", idle, None),
    ):
        model = PPO(
            "MlpPolicy", side, n_steps=STEPS, batch_size=MINIBATCH, n_epochs=EPOCHS, gamma=1.0, ent_coef=0.0,
            learning_rate=1e-5, normalize_advantage=False, policy_kwargs={"net_arch": [128, 128]},
            device="cpu", seed=0,
        )  # fmt: skip

        def measure(model: Any = model, callback: Any = callback) -> float:
            started = time.perf_counter()
            model.learn(ROLLOUTS * STEPS * LANES, callback=callback)
            return ROLLOUTS * STEPS * LANES / (time.perf_counter() - started)

        sides[name] = measure
    return sides


def exact(rounds: int) -> dict[str, float]:
    """Tokens/s of all sides, each the best of its rounds, and the ratio of SB3's two, the median of pairs."""
    best: dict[str, float] = {}
    sides = sb3_sides()
    for measure in sides.values():
        measure()
    pairs: list[float] = []
    for _ in range(rounds):
        speeds = {agent: trained(agent) for agent in AGENTS} | products_alone()
        for _ in range(3):
            pair = {name: measure() for name, measure in sides.items()}
            pairs.append(pair["SB3 on Keywords-v0"] / pair["SB3 on the idle env"])
            speeds |= {name: max(speed, speeds.get(name, 0.0)) for name, speed in pair.items()}
        for name, speed in speeds.items():
            best[name] = max(best.get(name, 0.0), speed)
    return best | {"ratio": float(np.median(pairs))}


def run(rounds: int) -> None:
    """Measure and print."""
    print("Training on Keywords-v0")
    measured = exact(rounds)
    ratio = measured.pop("ratio")
    for name, speed in measured.items():
        print(f"  {name:<28} {speed:>12,.0f} tokens/s")
    print(f"  SB3 on Keywords-v0 against the idle environment: ratio {ratio:.3f} (bar {BAR:g})\n")
