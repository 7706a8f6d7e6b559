"""Every agent on every environment of the suite, in a table that fits a screen.

What the suite of the board asks for stands in ``asked.json``, which ``python -m benchmarks.asked`` writes, so
that what was not run shows as that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from klrl_envs.registry import REGISTRY
from klrl_envs.results.document import Document
from klrl_envs.results.entry import Entry
from klrl_envs.results.record import EnvId, Name
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import is_final
from leaderboard.tables import Doubted, Table, link

FILE = "asked.json"
NOT_RUN, DOES_NOT_FIT = "...", ""
ABOUT = (
    "The mean score over the seeds. Bold is the best learner of a column; an asterisk lacks seeds; three "
    "dots are asked for and were not run yet; nothing stands where an agent does not fit. Bounds learn "
    "nothing and come last."
)


class Asked(Document):
    """What a suite asks for.

    Attributes:
        agents: name -> the environments that it runs on, in the suite's order.
    """

    agents: Mapping[Name, tuple[EnvId, ...]]


def load_asked(folder: Path) -> Asked:
    """Of the board in a folder; nothing, where there is no file."""
    path = folder / FILE
    return Asked.load(path) if path.exists() else Asked(agents={})


def matrix(entries: Sequence[Entry], asked: Asked, doubted: Doubted = frozenset()) -> Table:
    """A row an agent and a column an environment, without the diagnostics; who has most of them comes first.

    Args:
        entries: of all agents.
        asked: what is to be run.
        doubted: environment and agent of entries that are challenged, which win nothing.
    """
    columns = [row.gym_id for row in REGISTRY if "diagnostic" not in row.tags]
    found = {(entry.agent.name, entry.env_id): entry for entry in entries if entry.env_id in columns}
    bounds = {agent for (agent, _), entry in found.items() if entry.agent.kind == "bound"}
    best = {env_id: _best(found, env_id, doubted) for env_id in columns}

    def order(agent: str) -> tuple[bool, int, float, str]:
        scores = [entry.score or 0.0 for (name, _), entry in found.items() if name == agent]
        return agent in bounds, -len(scores), -sum(scores), agent

    def cell(agent: str, env_id: str) -> str:
        if (agent, env_id) not in found:
            return NOT_RUN if env_id in asked.agents.get(agent, ()) else DOES_NOT_FIT
        entry = found[agent, env_id]
        shown = "none" if entry.score is None else f"{entry.score:.2f}".replace("-0.00", "0.00")
        shown = f"**{shown}**" if agent == best[env_id] else shown
        return shown + ("" if is_final(entry) else r"\*")

    agents = sorted({*asked.agents, *(name for name, _ in found)}, key=order)
    rows = [[_named(agent, found), *(cell(agent, env_id) for env_id in columns)] for agent in agents]
    return ("agent", *map(_heading, columns)), rows


def _best(found: Mapping[tuple[str, str], Entry], env_id: str, doubted: Doubted) -> str | None:
    """The learner of the highest mean on an environment."""
    scores = {
        agent: entry.score
        for (agent, place), entry in found.items()
        if place == env_id
        and entry.score is not None
        and entry.agent.kind == "learner"
        and (env_id, agent) not in doubted
    }
    return max(scores, key=lambda agent: scores[agent], default=None)


def _named(agent: str, found: Mapping[tuple[str, str], Entry]) -> str:
    """The name, with a link to the code where an entry has one."""
    own = [entry for (name, _), entry in found.items() if name == agent]
    return f"[{agent}]({link(own[0], '')})" if own else agent


def _heading(env_id: str) -> str:
    """An environment's name in words, which a narrow column can break."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", short_id(env_id).removesuffix("-v0"))
