"""What an installed klrl_envs has to do, run by an interpreter that has nothing else: prints JSON."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import gymnasium as gym

import klrl_envs
from klrl_envs.registry import REGISTRY

LIBRARIES = ("gymnasium", "numpy", "scipy", "torch", "transformers", "pydantic", "typer", "pillow")
EPISODES = 64


def main() -> None:
    """Make every id, take a step of it, solve and evaluate every task."""
    made = 0
    for row in REGISTRY:
        for env_id in (row.gym_id, row.gym_features_id):
            env = gym.make(env_id)
            env.reset(seed=0)
            env.step(0)
            many = gym.make_vec(env_id, num_envs=2)
            many.reset(seed=0)
            many.step(many.action_space.sample())
            made += 1
        best = klrl_envs.optimum(row.gym_id)
        assert best.lower <= best.value <= best.upper, row.gym_id
        seen = klrl_envs.evaluate("reference", row.gym_id, episodes=EPISODES, seed=0)
        assert seen.score is None or abs(seen.score.estimate) < 1, row.gym_id
    libraries = {name: version(name) for name in LIBRARIES}
    print(json.dumps({"python": platform.python_version(), "ids": made, "libraries": libraries}))


if __name__ == "__main__":
    main()
