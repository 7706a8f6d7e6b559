"""What the board is to show: ``leaderboard/asked.json``, which agent the suite "core" runs where.

    python -m benchmarks.asked

The README's table says of what stands there and has no entry that it was not run.
"""

from __future__ import annotations

from benchmarks.suites import CORE
from klrl_envs.results.plan import expand
from leaderboard.folder import FOLDER
from leaderboard.matrix import FILE, Asked


def asked() -> Asked:
    """Every agent of the suite with its environments."""
    agents: dict[str, dict[str, None]] = {}
    for run in expand(CORE):
        agents.setdefault(run.agent, {})[run.env_id] = None
    return Asked(agents={agent: tuple(places) for agent, places in agents.items()})


def main() -> None:
    """Write the file."""
    asked().save(FOLDER / FILE)


if __name__ == "__main__":
    main()
