"""A stranger's policy evaluated in a process of its own, with limits on time and memory.

The policy is data, of which no code is run; but a model may loop for ever or ask for all memory. The process
reads the file first and draws the evaluation's seed then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from klrl_envs.results.document import Document
from klrl_envs.results.record import Bounds, EvaluationRecord, Finite, Sha256
from leaderboard.folder import FOLDER

CHECKOUT = FOLDER.parent


@dataclass(frozen=True)
class Limits:
    """What an evaluation may take: seconds of wall time, and gigabytes of address space."""

    seconds: float = 3600.0
    memory_gb: float = 16.0


class Measurement(Document):
    """What a policy is worth: see ``klrl_envs.results.record.Measured``; ``optimum`` is J*."""

    score: Finite | None
    score_interval: Bounds | None
    objective: Finite
    expected_reward: Finite
    kl: Finite
    regret: Finite
    evaluation: EvaluationRecord
    optimum: Finite
    reference_value: Finite
    task_sha256: Sha256


def evaluate_file(path: Path, env_id: str, *, episodes: int, limits: Limits) -> Measurement:
    """Evaluate a policy's file on a task, with a seed that is drawn after the file was read.

    Raises:
        ValueError: in one line, what is wrong with the policy, or which limit it ran into.
    """
    words = [sys.executable, "-m", "leaderboard.contained", str(path.absolute()), env_id]
    numbers = [str(episodes), str(limits.seconds), str(limits.memory_gb)]
    try:
        done = subprocess.run(
            [*words, *numbers],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.seconds,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: its evaluation took more than {limits.seconds:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        died = f"its evaluation ended with signal {-done.returncode}: a limit of time or memory"
        raise ValueError(f"{path}: {died}" if done.returncode < 0 or not said else said[-1][:500])
    return Measurement.model_validate_json(done.stdout)


def limit(limits: Limits) -> None:
    """Limit this process; what it exceeds ends in MemoryError or in a signal."""
    import resource

    memory = int(limits.memory_gb * 1e9)
    processor = int(limits.seconds * (os.cpu_count() or 1)) + 1
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, processor),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def measure(path: Path, env_id: str, episodes: int) -> Measurement:
    """The evaluation itself, in this process."""
    import klrl_envs
    from klrl_envs.results.write import measured

    row, task = klrl_envs.find_row(env_id), klrl_envs.evaluation_task(env_id)
    policy, features = klrl_envs.load_policy(path, task)
    shown_id = row.gym_features_id if features else row.gym_id
    found = klrl_envs.evaluate(policy, shown_id, episodes=episodes)
    own = {name: value for name, value in measured(found).items() if name in Measurement.model_fields}
    return Measurement(**own, optimum=found.optimum.estimate, reference_value=found.reference_value)


def main(words: list[str]) -> int:
    """What the process does: PATH ENV_ID EPISODES SECONDS GIGABYTES; prints a ``Measurement``."""
    path, env_id, episodes, seconds, memory = words
    limit(Limits(float(seconds), float(memory)))
    try:
        print(measure(Path(path), env_id, int(episodes)).to_json())
    except (ValueError, TypeError, ImportError, MemoryError, RuntimeError) as error:
        fault = str(error).partition("\n")[0] or type(error).__name__
        print(fault if path in fault else f"{path}: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
