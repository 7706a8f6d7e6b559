"""The guard: what a record or an entry says, held against itself and against its task.

``check_record`` and ``check_entry`` recompute what ties the numbers together (``klrl_envs.results.ties``),
with the optimum and the frontier of the task (``klrl_envs.results.frontier``), and hold them to the rules
(``klrl_envs.results.rules``). All that contradicts is named at once.

What the guard cannot see: numbers that were made up as a whole and fit together, of a policy that might exist
and was never trained. Only an evaluation of the submitted policy shows that (see "verified" in
leaderboard/RULES.md). Seconds, hardware, versions, commits and tokens within the budget are tied to nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date

from klrl_envs.evaluation.impossible import UNSEEN
from klrl_envs.evaluation.seeds import LEAST_FRESH
from klrl_envs.registry import find_row
from klrl_envs.results.chance import ENOUGH, ROUNDING, SIGMAS
from klrl_envs.results.entry import Entry, mean_score
from klrl_envs.results.frontier import Limits, limits_of
from klrl_envs.results.plan import usual_seeds
from klrl_envs.results.record import Bounds, Measured, RunRecord, Setup
from klrl_envs.results.rules import check_rules, check_run, task_sha256
from klrl_envs.results.statistics import SharedError, mean_interval, shared_error_on
from klrl_envs.results.ties import KL_ROUNDING, Ties

COPIED = 1e-6
"""Numbers that are nearer, all four, are those of one run."""

INTERVAL_SLACK = 1e-6
"""Rounding of a score's interval."""

OLDER_UNTIL = "2026-11-24"
"""The last day of entries whose seeds do not say how they were evaluated."""


def check_record(record: RunRecord) -> None:
    """Raise ValueError where a record contradicts itself, its task or a rule that holds with any arguments.

    Raises:
        ValueError: one line that names each contradiction: seed, number, its value, and what it must be.
    """
    raise_for(problems_of_record(record))


def check_entry(entry: Entry) -> None:
    """Raise ValueError where an entry contradicts itself, its task or a rule of the leaderboard.

    Raises:
        ValueError: one line that names each contradiction: seed, number, its value, and what it must be.
    """
    raise_for(problems_of_entry(entry))


def raise_for(problems: Sequence[str]) -> None:
    """Raise ValueError with all problems in a line, where there are any."""
    if problems:
        raise ValueError("; ".join(problems))


def problems_of_record(record: RunRecord) -> list[str]:
    """All that a record contradicts."""
    found = fault_of(lambda: check_run(record))
    if found:
        return found  # numbers of another task, or at another kl_coef, cannot be compared
    try:
        limits = limits_of(record.env_id, json.dumps(record.env_kwargs, sort_keys=True, allow_nan=False))
    except ValueError as error:
        return [str(error)]
    return [
        *of_the_task(record, limits.sha256),
        *of_the_day(record.date),
        *of_a_seed(record, record, limits),
    ]


def problems_of_entry(entry: Entry) -> list[str]:
    """All that an entry contradicts."""
    found = fault_of(lambda: check_rules(entry))
    if found:
        return found
    found = list(of_the_task(entry, task_sha256(entry.env_id)))
    if found:
        return found  # its numbers are of another task
    limits = limits_of(entry.env_id)
    for day in (entry.date, *(seed.date for seed in entry.seeds if seed.date is not None)):
        found += of_the_day(day)
    for seed in entry.seeds:
        found += of_a_seed(entry, seed, limits)
    return [
        *found,
        *of_the_seeds(entry),
        *of_the_seeds_together(entry, limits),
        *of_the_tier(entry),
        *of_the_mean(entry),
    ]


def fault_of(check: Callable[[], None]) -> list[str]:
    """What a check that raises says, or nothing."""
    try:
        check()
    except ValueError as error:
        return [str(error)]
    return []


def of_the_task(setup: Setup, current: str) -> Iterator[str]:
    """The task is the one that is registered now."""
    if setup.task_sha256 != current:
        yield f"task_sha256 is {setup.task_sha256}, but {setup.env_id} is now {current}"


def of_the_day(day: str) -> Iterator[str]:
    """A date is a day of the calendar."""
    try:
        date.fromisoformat(day)
    except ValueError as error:
        yield f"date must be a day of the calendar, not {day!r}: {error}"


def of_a_seed(setup: Setup, seed: Measured, limits: Limits) -> Iterator[str]:
    """A seed's numbers fit together, and a learner has written something."""
    if setup.agent.kind == "learner" and seed.tokens == 0:
        yield f"seed {seed.seed}: tokens must be above 0 of a learner, not 0"
    yield from of_the_curve(seed)
    if setup.schema_version == 1 and seed.evaluation is not None:
        yield f"seed {seed.seed}: evaluation must be None in schema_version 1"
    if setup.schema_version > 1 and seed.evaluation is None:
        yield f"seed {seed.seed}: evaluation must be there from schema_version 2 on, not None"
    for contradiction in Ties(seed, setup.kl_coef, limits).contradictions():
        yield f"seed {seed.seed}: {contradiction}"


def of_the_curve(seed: Measured) -> Iterator[str]:
    """The learning curve reached half before nine tenths, and both within the tokens written."""
    half, most = seed.tokens_to_half, seed.tokens_to_nine_tenths
    for name, reached in (("tokens_to_half", half), ("tokens_to_nine_tenths", most)):
        if reached is not None and reached > seed.tokens:
            yield f"seed {seed.seed}: {name} must be at most the {seed.tokens} tokens written, not {reached}"
    if most is not None and (half is None or half > most):
        yield (f"seed {seed.seed}: tokens_to_half must be at most tokens_to_nine_tenths = {most}, not {half}")


def of_the_seeds(entry: Entry) -> Iterator[str]:
    """The seeds are declared ones, and none is the copy of another."""
    declared = usual_seeds(find_row(entry.env_id))
    for seed in entry.seeds:
        if seed.seed not in declared:
            yield f"seed {seed.seed}: seeds of {entry.env_id} must be among {list(declared)}"
        evaluation = seed.evaluation
        if evaluation is not None and evaluation.degrees_of_freedom < ENOUGH:
            yield (
                f"seed {seed.seed}: evaluation.episodes must be at least {ENOUGH + evaluation.prompts} in an "
                f"entry, not {evaluation.episodes}"
            )
    drawn: dict[int, int] = {}
    for place, seed in enumerate(entry.seeds):
        # whoever learns nothing stays at the reference, with any seed
        if entry.agent.kind == "learner" and abs(seed.kl) > KL_ROUNDING:
            for other in entry.seeds[:place]:
                if all(
                    math.isclose(*pair, rel_tol=COPIED) for pair in zip(numbers_of(seed), numbers_of(other))
                ):
                    yield (
                        f"seed {seed.seed}: objective {seed.objective} and all else are those of seed "
                        f"{other.seed}"
                    )
        if seed.evaluation is not None and seed.evaluation.fresh and seed.evaluation.seed < LEAST_FRESH:
            yield f"seed {seed.seed}: evaluation.seed {seed.evaluation.seed} is no fresh draw"
        if seed.evaluation is not None and seed.evaluation.fresh:
            other = drawn.setdefault(seed.evaluation.seed, seed.seed)
            if other != seed.seed:
                yield (
                    f"seed {seed.seed}: evaluation.seed {seed.evaluation.seed} is that of seed {other}, "
                    "which a fresh draw never is"
                )


def numbers_of(seed: Measured) -> tuple[float, ...]:
    """What two seeds never have in common."""
    return seed.objective, seed.expected_reward, seed.kl, seed.regret


def of_the_seeds_together(entry: Entry, limits: Limits) -> Iterator[str]:
    """Objective and reward less KL differ by chance, which has a mean of zero over the seeds."""
    found = [(seed, seed.evaluation) for seed in entry.seeds if seed.evaluation is not None]
    if len(found) < 2 or len(found) < len(entry.seeds):
        return
    off = [seed.objective - seed.expected_reward + entry.kl_coef * seed.kl for seed, _ in found]
    mean = math.fsum(off) / len(found)
    error = math.hypot(*(evaluation.errors.difference for _, evaluation in found)) / len(found)
    sampled = sum(evaluation.episodes for _, evaluation in found if not evaluation.exact)
    room = UNSEEN * limits.spread / sampled if sampled else 0.0
    if abs(mean) > SIGMAS * error + room + ROUNDING * max(1.0, abs(entry.mean("objective"))):
        yield (
            f"objective is on average {mean:.4g} more than expected_reward - kl_coef kl over the seeds, "
            f"where chance allows {SIGMAS * error + room:.2g}"
        )


def of_the_tier(entry: Entry) -> Iterator[str]:
    """What states no errors is old, and what was seen here was evaluated with a seed that nobody knew."""
    if entry.tier in ("verified", "reproduced"):
        for seed in entry.seeds:
            if seed.evaluation is not None and not seed.evaluation.fresh:
                yield f"seed {seed.seed}: evaluation.fresh must be true in tier {entry.tier!r}, not false"
    if entry.tier != "older":
        return
    if entry.schema_version != 1:
        yield f"schema_version must be 1 in tier 'older', not {entry.schema_version}"
    if max(entry.date, *(seed.date or entry.date for seed in entry.seeds)) > OLDER_UNTIL:
        yield f"date must be at most {OLDER_UNTIL} in tier 'older', not {entry.date}"


def of_the_mean(entry: Entry) -> Iterator[str]:
    """The interval of the mean score follows from the seeds; that the score is their mean, ``Entry`` says."""
    expected = entry_interval(entry.env_id, entry.seeds)
    if expected is None or entry.score_interval is None:
        return  # one is None exactly where the other is, as ``Entry`` says
    slack = INTERVAL_SLACK * max(1.0, *map(abs, expected))
    if any(abs(seen - bound) > slack for seen, bound in zip(entry.score_interval, expected, strict=True)):
        yield (
            f"score_interval must be {list(expected)}, as follows from the seeds, "
            f"not {list(entry.score_interval)}"
        )


def entry_interval(
    env_id: str, seeds: Sequence[Measured], shared_error: SharedError = shared_error_on
) -> Bounds | None:
    """The interval of the mean score: a single seed's is its own; None where a seed has no score."""
    mean, (scores, intervals) = mean_score(seeds), scores_of(seeds)
    if mean is None:
        return None
    return intervals[0] if len(seeds) == 1 else mean_interval(scores, shared_error(env_id, mean))


def scores_of(seeds: Sequence[Measured]) -> tuple[list[float], list[Bounds]]:
    """The scores of seeds and their intervals."""
    scores = [seed.score for seed in seeds if seed.score is not None]
    return scores, [seed.score_interval for seed in seeds if seed.score_interval is not None]
