"""An agent for the checks of the runner: it writes its tokens, learns nothing, and leaves a result.

    python -m benchmarks.reliability.small_agent --env-id ID --tokens N --seed S --out DIR [--calls FILE]

Each start is a line of FILE.
"""

from __future__ import annotations

import argparse
import json

import gymnasium as gym
import numpy as np

import klrl_envs
from klrl_envs.wrappers import append_line

AGENT = {
    "name": "small", "url": "https://example.org/small.git", "license": "MIT", "observes": "nothing",
    "trains": "nothing", "tuned": "untuned",
}  # fmt: skip
NAME = AGENT["name"]
SUITE_TOKENS = 400
ENV_ID = "klrl/Keywords-v0"


def main() -> None:
    """Write, evaluate pi0, and record it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for flag, kind in {"--env-id": str, "--tokens": int, "--seed": int, "--out": str}.items():
        parser.add_argument(flag, type=kind, required=True)
    parser.add_argument("--env-kwargs", type=json.loads, default={})
    parser.add_argument("--calls")
    args = parser.parse_args()
    if args.calls:
        append_line(args.calls, {"seed": args.seed})
    env = gym.make(args.env_id, **args.env_kwargs)
    rng = np.random.default_rng(args.seed)
    env.reset(seed=args.seed)
    for _ in range(args.tokens):
        if env.step(int(rng.integers(env.action_space.n)))[2]:  # type: ignore[attr-defined]
            env.reset()
    evaluation = klrl_envs.evaluate("reference", args.env_id, episodes=128, seed=args.seed, **args.env_kwargs)
    klrl_envs.write_result(
        evaluation,
        args.out,
        agent=AGENT,
        seed=args.seed,
        env_kwargs=args.env_kwargs,
        code=("LICENSE",),  # a checkout in which something changes may ask, too
    )


def suite(seeds: int, calls: str | None = None) -> str:
    """A suite of this agent, as a JSON file has it."""
    command = f"python -m {__spec__.name}" + (f" --calls {calls}" if calls else "")
    experiment = {
        "agent": NAME, "command": command, "environments": [ENV_ID], "seeds": list(range(seeds)),
        "tokens": SUITE_TOKENS,
    }  # fmt: skip
    return json.dumps([experiment])


if __name__ == "__main__":
    main()
