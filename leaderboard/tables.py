"""Entries as tables: the headings and cells that TABLE.md, the page and the README share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from klrl_envs.results.entry import Entry
from klrl_envs.results.outcome import shown_score
from klrl_envs.results.record import NOT_SAID
from leaderboard.aggregate import is_final

NO_ENTRIES = "No entries yet."


def number(value: float, digits: int = 3) -> str:
    """A number of so many significant digits, never in powers of ten; what is below a millionth is 0."""
    if abs(value) < 10**-6:
        return "0"
    magnitude = math.floor(math.log10(abs(value))) + 1
    return f"{value:,.{max(0, digits - magnitude)}f}"


def short_commit(commit: str) -> str:
    """The first digits of a commit, and whether the code had changed since."""
    digits, dash, rest = commit.partition("-")
    return digits[:10] + dash + rest


def standing(tier: str, *, final: bool) -> str:
    """Who saw the numbers, and whether seeds are missing."""
    return tier if final else f"{tier}, not final"


def evaluated(entry: Entry) -> str:
    """Whether the log-probs that a score rests on were checked, and what else limits it, over the seeds."""
    words: list[str] = []
    for seed in entry.seeds:
        found = seed.evaluation
        if found is None:
            words.append(NOT_SAID)
            continue
        limits = [f"{found.bound} bound"] if found.bound != "exact" else []
        limits += ["tail unresolved"] if found.tail == "unresolved" else []
        limits += [] if found.fresh else ["seed known before"]
        words.append(", ".join([found.log_probs, *limits]))
    return "; ".join(dict.fromkeys(words))


Column = tuple[str, Callable[[Entry], str]]
"""Heading, and the cell of an entry."""

AGENT: Column = ("agent", lambda entry: entry.agent.name)
SCORE: Column = ("score [95 %]", lambda entry: shown_score(entry.score, entry.score_interval))
REWARD: Column = ("expected reward", lambda entry: number(entry.mean("expected_reward")))
KL: Column = ("KL (nats)", lambda entry: number(entry.mean("kl")))
TOKENS: Column = ("tokens", lambda entry: f"{entry.mean('tokens'):,.0f}")
TIER: Column = ("tier", lambda entry: standing(entry.tier, final=is_final(entry)))

SCORES: tuple[Column, ...] = (
    AGENT,
    SCORE,
    REWARD,
    KL,
    ("regret", lambda entry: number(entry.mean("regret"))),
    TOKENS,
    ("budget", lambda entry: ", ".join(dict.fromkeys(seed.budget for seed in entry.seeds))),
    ("log-probs", evaluated),
    ("seeds", lambda entry: ", ".join(str(seed.seed) for seed in entry.seeds)),
    TIER,
)
"""What an agent reached on an environment, and how far that is to be trusted."""
RUNS: tuple[Column, ...] = (
    AGENT,
    ("observes", lambda entry: entry.agent.observes),
    ("trains", lambda entry: entry.agent.trains),
    ("tuned", lambda entry: entry.agent.tuned),
    ("seconds", lambda entry: f"{entry.mean('seconds'):,.0f}"),
    ("hardware", lambda entry: "; ".join(map(str, entry.distinct("hardware")))),
    ("versions", lambda entry: "; ".join(map(str, entry.distinct("versions")))),
    ("commit", lambda entry: ", ".join(short_commit(commit) for commit in entry.distinct("commit"))),
)
"""What the agent is, and what a rerun needs."""

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows."""
Doubted = AbstractSet[tuple[str, str]]
"""Environment and agent of the entries that are challenged."""


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def entry_table(
    entries: Sequence[Entry], columns: Sequence[Column], root: str, doubted: Doubted = frozenset()
) -> str:
    """A Markdown table of entries, with links to the agents' code.

    Args:
        entries: a row each.
        columns: what it shows.
        root: leads from the text to the repository's root.
        doubted: entries that are challenged.
    """
    rows = [[cell(entry) for _, cell in columns] for entry in entries]
    place = columns.index(AGENT)
    for entry, row in zip(entries, rows):
        row[place] = f"[{row[place]}]({link(entry, root)}){mark(entry, doubted)}"
    return markdown([heading for heading, _ in columns], rows) if entries else NO_ENTRIES


def mark(entry: Entry, doubted: Doubted = frozenset()) -> str:
    """What stands behind an agent's name: that it is no learner, that the entry is challenged."""
    marks = ["bound"] if entry.agent.kind == "bound" else []
    marks += ["challenged"] if (entry.env_id, entry.agent.name) in doubted else []
    return f" ({', '.join(marks)})" if marks else ""


def link(entry: Entry, root: str) -> str:
    """Where an agent's code is; `root` leads from the page to the repository's root."""
    url = entry.agent.url
    assert url is not None  # the leaderboard's rules ask for it
    return url if "://" in url else root + url
