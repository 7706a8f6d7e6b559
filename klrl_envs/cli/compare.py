"""`klrl compare`: two policies on one task, or the runs of two agents."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from klrl_envs.cli.options import print_json
from klrl_envs.cli.score import is_saved, policy_by_name
from klrl_envs.cli.waiting import waiting
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.estimators import Interval
from klrl_envs.evaluation.evaluate import optimal_policy
from klrl_envs.evaluation.paired import Paired, Shown, compare_policies
from klrl_envs.evaluation.shown_texts import ShownText, policy_texts
from klrl_envs.networks.files import load_policy
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.registry import find_row
from klrl_envs.results.outcome import Outcome, outcomes_of, shown_score
from klrl_envs.results.points import FILE, read_records
from klrl_envs.results.statistics import difference_interval
from klrl_envs.showing import shown, with_bounds
from klrl_envs.tasks.base import Task


def compare(
    first: str,
    second: str,
    env_id: str | None,
    arguments: dict[str, Any],
    *,
    episodes: int,
    texts: int,
    seed: int,
    console: Console,
    as_json: bool,
) -> None:
    """Print what the second has more than the first; see ``klrl compare``.

    Raises:
        ValueError: folders of results beside an environment, or policies without one.
    """
    folders = [Path(each) for each in (first, second)]
    if env_id is None:
        if not all(folder.is_dir() and any(folder.rglob(FILE)) for folder in folders):
            raise ValueError(
                f"--env is missing: without it both must be folders that hold {FILE}, got {first!r} and "
                f"{second!r}"
            )
        compare_runs(folders[0], folders[1], console, as_json=as_json)
        return
    task = evaluation_task(find_row(env_id).gym_id, arguments)
    with waiting(f"{episodes:,} episodes of each on {task.id}"):
        one, two = policy_named(first, task), policy_named(second, task)
        paired = compare_policies(one, two, task, episodes=episodes, seed=seed)
        written = side_by_side((one, two), task, texts, seed)
    if as_json:
        beside = [[dataclasses.asdict(text) for text in row] for row in written]
        print_json(json.dumps({**json.loads(paired.to_json()), "texts": beside}, indent=2), console)
        return
    console.print(paired_table(paired, (first, second)))
    for row in written:
        console.print(texts_table(row, ("pi0", first, second, "pi*")))


def policy_named(name: str, task: Task) -> Shown:
    """A policy as `klrl evaluate` takes it: a file, a folder, a name or module:object."""
    if is_saved(name):
        return Shown(*load_policy(policy_file(Path(name)), task))
    policy = policy_by_name(name)
    ideal = isinstance(policy, str) and policy == "optimal"
    return Shown(optimal_policy(task, optimum_of(task)) if ideal else policy)


def policy_file(path: Path) -> Path:
    """The policy that a training left in a folder, or the folder or file itself."""
    inside = (path / "policy.safetensors", path / "policy")
    return next((each for each in inside if each.exists()), path)


def side_by_side(policies: tuple[Shown, Shown], task: Task, texts: int, seed: int) -> list[list[ShownText]]:
    """[texts][pi0, first, second, pi*] on the same prompts."""
    if not texts:
        return []
    prompts = np.arange(texts) % len(task.prompts.tokens)
    ideal = Shown(optimal_policy(task, optimum_of(task)))
    columns = (
        policy_texts(each.policy, task, prompts, seed, features=each.features)
        for each in (Shown("reference"), *policies, ideal)
    )
    return [list(row) for row in zip(*columns, strict=True)]


def paired_table(paired: Paired, names: tuple[str, str]) -> Table:
    """Both evaluations, and their difference with its interval."""
    one, two = paired.first, paired.second
    table = Table("", *map(escape, names), escape("second less first [95 %]"))
    table.title = f"{one.env_id}, kl_coef {one.kl_coef:g}"

    def add(name: str, first: Interval | None, second: Interval | None, more: Interval | None) -> None:
        cells = (
            "none" if each is None else with_bounds(each.estimate, (each.lower, each.upper))
            for each in (first, second, more)
        )
        table.add_row(escape(name), *map(escape, cells))

    add("score", one.score, two.score, paired.score)
    add("objective J", one.objective, two.objective, paired.objective)
    add("expected reward", one.expected_reward, two.expected_reward, paired.expected_reward)
    add("KL (nats)", one.kl, two.kl, paired.kl)
    for name in [name for name in one.metrics if name in two.metrics]:
        values = one.metrics[name], two.metrics[name]
        table.add_row(escape(name), *map(shown, values), shown(values[1] - values[0]))
    found = one.comparison, two.comparison
    if found[0] is not None and found[1] is not None:
        table.add_section()
        for title, name in DIFFERS:
            add(title, getattr(found[0], name), getattr(found[1], name), None)
    shared = "computed over all states" if one.exact and two.exact else "sampled"
    prompts = f"{one.prompts} prompt{'s' if one.prompts > 1 else ''}"
    table.caption = f"{one.episodes:,} episodes of each on {prompts}, seed {one.seed}; {shared}"
    return table


DIFFERS = (
    ("KL(pi || pi*) (nats)", "reverse_kl"),
    ("KL(pi* || pi) (nats)", "forward_kl"),
    ("entropy (nats)", "entropy"),
)
"""How a policy differs from pi*: what a row says, and the field of ``Comparison``."""


def texts_table(row: list[ShownText], names: tuple[str, ...]) -> Table:
    """A prompt, and what each wrote behind it."""
    head = escape(row[0].prompt.strip()) or "text"
    table = Table("", "reward", head, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, text in zip(names, row, strict=True):
        table.add_row(Text(name, style="cyan"), f"{text.reward:.3f}", Text(text.written))
    return table


def compare_runs(first: Path, second: Path, console: Console, *, as_json: bool) -> None:
    """Print, of each environment that both folders have, the mean scores and Welch's interval."""
    left, right = (
        {outcome.label: outcome for outcome in outcomes_of(read_records(folder))}
        for folder in (first, second)
    )
    labels = [label for label in left if label in right]
    if not labels:
        raise ValueError(f"{first} and {second} have no environment in common")
    rows = [(label, left[label], right[label], difference_of(left[label], right[label])) for label in labels]
    if as_json:
        plain = [
            {"environment": label, "first": one.score, "second": two.score}
            | {"difference": None if more is None else dataclasses.asdict(more)}
            for label, one, two, more in rows
        ]
        print_json(json.dumps(plain, indent=2), console)
        return
    table = Table("environment", str(first), str(second), escape("second less first [95 %]"))
    table.caption = "mean scores over seeds; the difference is Welch's, none of a single seed"
    for label, one, two, more in rows:
        cells = [shown_score(each.score, each.interval) for each in (one, two)]
        cells.append("none" if more is None else with_bounds(more.estimate, (more.lower, more.upper), 3))
        table.add_row(escape(label), *map(escape, cells))
    console.print(table)


def difference_of(first: Outcome, second: Outcome) -> Interval | None:
    """What the second's mean score has more; None where either has one seed or no score."""
    one, two = (
        [each.score for each in outcome.records if each.score is not None] for outcome in (first, second)
    )
    if min(len(one), len(two)) < 2 or first.score is None or second.score is None:
        return None
    return Interval(second.score - first.score, *difference_interval(one, two))
