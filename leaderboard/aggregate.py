"""Every agent over the environments of a group: `aggregate.json`, made from the entries.

The score of an agent is the mean over environments of its mean over seeds: pooled before it is averaged (an
interquartile mean of all scores, say) an environment of few seeds drops out, and the order can turn round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from klrl_envs.registry import REGISTRY, find_row
from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry, digest_of_entries
from klrl_envs.results.plan import usual_seeds
from klrl_envs.results.record import Bounds, EnvId, Finite, Name, Tier
from klrl_envs.results.statistics import SharedError, shared_error_on
from leaderboard.pairwise import DIGITS, Pair, compare_pairs, scores_of
from leaderboard.statistics import mean_over_environments

FLOOR = "reference"
"""The agent that stands on every environment of the board."""
TRUSTED = "reproduced"
"""The tier from which a learner's rank is written plainly."""


class AggregateRow(Strict):
    """One agent over the environments of the group that it has.

    `score` is the mean over environments, `lowest` the smallest of their mean scores and `lowest_on` where
    that is; `tier` is the weakest of its entries; `final` says that every environment has its declared seeds.
    `complete` says that it has every environment of the group, `believed` that none of its scores is
    self-reported, a bound, or by a seed that was known before. `rank` is for learners that are both: among
    those of a trusted tier where `tier` is one, otherwise the place among all.
    """

    agent: Name
    kind: Literal["learner", "bound"]
    environments: tuple[EnvId, ...]
    complete: bool
    rank: int | None
    score: Finite
    score_interval: Bounds | None
    lowest: Finite
    lowest_on: EnvId
    tier: Tier
    final: bool
    believed: bool

    @property
    def ranks(self) -> bool:
        """Whether it has a place among the others."""
        return self.kind == "learner" and self.complete and self.believed

    @property
    def trusted(self) -> bool:
        """Whether the rank holds against others of that tier, so that it is written without parentheses."""
        return self.tier == TRUSTED


class Aggregate(Document):
    """A group of environments, every agent on it and every pair of them, from the entries with this digest.

    `environments` are those that rank; `without_score` those where J* = J(pi0), which are left out.
    """

    entries_digest: str
    environments: tuple[EnvId, ...]
    without_score: tuple[EnvId, ...]
    rows: tuple[AggregateRow, ...]
    pairs: tuple[Pair, ...]

    @property
    def ranked(self) -> list[AggregateRow]:
        """The rows of learners with every environment, the best first."""
        return [row for row in self.rows if row.rank is not None]


def aggregate(
    entries: Sequence[Entry], *, tag: str | None = None, shared_error: SharedError = shared_error_on
) -> Aggregate:
    """Every agent's mean over the environments of a group, the complete first and then the best first.

    Args:
        entries: of all agents; see ``environments_that_rank`` for the group.
        tag: only the environments that the registry gives it.
        shared_error: see ``SharedError``.

    Raises:
        ValueError: a tag that no environment has.
    """
    known = sorted({tag for row in REGISTRY for tag in row.tags})
    if tag is not None and tag not in known:
        raise ValueError(f"tag must be one of {', '.join(known)}, not {tag!r}")
    chosen = [entry for entry in entries if tag is None or tag in find_row(entry.env_id).tags]
    scored = [entry for entry in chosen if entry.score is not None]
    environments = environments_that_rank(scored)
    rows = [
        _row([entry for entry in scored if entry.agent.name == agent], environments, shared_error)
        for agent in sorted({entry.agent.name for entry in scored})
    ]
    rows.sort(key=lambda row: (not row.complete, -row.score, row.agent))
    return Aggregate(
        entries_digest=digest_of_entries(entries),
        environments=environments,
        without_score=tuple(sorted({entry.env_id for entry in chosen if entry.score is None})),
        rows=tuple(row.model_copy(update={"rank": _rank(row, rows)}) for row in rows),
        pairs=compare_pairs(scored, [row.agent for row in rows]),
    )


def environments_that_rank(scored: Sequence[Entry]) -> tuple[str, ...]:
    """The environments on which this repository has run the reference; all, where it has on none.

    Whoever enters on another one thereby does not take from others that they had every environment.
    """
    board = {entry.env_id for entry in scored if entry.agent.name == FLOOR}
    return tuple(sorted(board or {entry.env_id for entry in scored}))


def _row(own: Sequence[Entry], group: Sequence[str], shared_error: SharedError) -> AggregateRow:
    """The row of an agent from its entries that have scores, without its rank."""
    own = [entry for entry in own if entry.env_id in group] or own
    means = {entry.env_id: entry.score for entry in own if entry.score is not None}
    score, interval = mean_over_environments(
        [scores_of(entry) for entry in own], [shared_error(env_id, mean) for env_id, mean in means.items()]
    )
    lowest_on = min(means, key=lambda env_id: (means[env_id], env_id))
    return AggregateRow(
        agent=own[0].agent.name,
        kind="bound" if "bound" in {entry.agent.kind for entry in own} else "learner",
        environments=tuple(sorted(means)),
        complete=set(means) == set(group),
        rank=None,
        score=round(score, DIGITS),
        score_interval=interval and (round(interval[0], DIGITS), round(interval[1], DIGITS)),
        lowest=round(means[lowest_on], DIGITS),
        lowest_on=lowest_on,
        tier=weakest(entry.tier for entry in own),
        final=all(is_final(entry) for entry in own),
        believed=all(is_believed(entry) for entry in own),
    )


def _rank(row: AggregateRow, rows: Sequence[AggregateRow]) -> int | None:
    """The place of a learner, 1 the best; equal scores share it.

    What nobody reproduced cannot push down what was: trusted rows count the trusted above them, others all.
    """
    if not row.ranks:
        return None
    rivals = [other for other in rows if other.ranks]
    return 1 + sum(other.score > row.score and (other.trusted or not row.trusted) for other in rivals)


def is_believed(entry: Entry) -> bool:
    """Whether a score is the library's own: of log-probs that it saw, no bounds, by a draw that nobody knew.

    Older entries, which do not say, are of policies by rows.
    """
    found = [seed.evaluation for seed in entry.seeds if seed.evaluation is not None]
    return all((each.log_probs, each.bound, each.fresh) == ("checked", "exact", True) for each in found)


def weakest(tiers: Iterable[Tier]) -> Tier:
    """The tier of the least trust; ``Tier`` names them in order."""
    order: tuple[Tier, ...] = get_args(Tier)
    return order[min(map(order.index, tiers))]


def is_final(entry: Entry) -> bool:
    """Whether an entry has every declared seed of its environment."""
    return set(usual_seeds(find_row(entry.env_id))) <= {seed.seed for seed in entry.seeds}
