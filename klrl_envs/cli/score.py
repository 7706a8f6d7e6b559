"""`klrl evaluate` and `klrl certify`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from klrl_envs.cli.objects import object_named
from klrl_envs.cli.options import print_json
from klrl_envs.cli.waiting import waiting
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.estimators import Interval
from klrl_envs.evaluation.evaluate import evaluate as evaluate_policy
from klrl_envs.evaluation.result import Evaluation
from klrl_envs.networks.files import SUFFIXES, load_policy
from klrl_envs.optima.certify import certify as certify_task
from klrl_envs.optima.optimum import certificate_folder, certificate_name
from klrl_envs.policies import NAMES, PolicyName, PolicyObject, as_policy
from klrl_envs.registry import find_row
from klrl_envs.showing import shown
from klrl_envs.tasks.base import Prompts, Task


def score_policy(
    env_id: str,
    arguments: dict[str, Any],
    name: str,
    episodes: int,
    seed: int,
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Evaluate a policy, by its name or from its file or folder, and print the result."""
    if is_saved(name):
        policy, features = load_policy(name, evaluation_task(env_id, arguments))
        row = find_row(env_id)
        env_id = row.gym_features_id if features else row.gym_id
    else:
        policy = policy_by_name(name)
    with waiting(f"{episodes:,} episodes on {env_id}"):
        result = evaluate_policy(policy, env_id, episodes=episodes, seed=seed, **arguments)
    if as_json:
        print_json(result.to_json(), console)
    else:
        console.print(evaluation_table(result))


def is_saved(name: str) -> bool:
    """Whether a name is that of a policy's file or folder."""
    return Path(name).suffix in SUFFIXES or Path(name).is_dir()


def policy_by_name(name: str) -> PolicyObject | PolicyName:
    """A policy by its name, "module:object" or "file.py:object".

    Raises:
        ValueError: not of this form.
        ImportError: no such module or object.
        TypeError: the object is no policy.
    """
    if name in NAMES:
        return name
    found: Any = object_named(
        name,
        f"--policy takes module:object, file.py:object, a file *{' or *'.join(SUFFIXES)}, a folder of a "
        f"causal model or an adapter, or one of {', '.join(NAMES)}",
    )
    return as_policy(found() if isinstance(found, type) else found)


def evaluation_table(result: Evaluation) -> Table:
    """An evaluation with its intervals."""
    table = Table("", "estimate", "95 % interval", title=f"{result.env_id}, kl_coef {result.kl_coef:g}")

    def add(name: str, value: Interval) -> None:
        table.add_row(name, shown(value.estimate), f"{shown(value.lower)} to {shown(value.upper)}")

    if result.score is None:
        table.add_row("score", "none", "J* = J(pi0): the regret counts")
    else:
        marks = [] if result.bound == "exact" else [f"{result.bound} bound"]
        marks += [] if result.log_probs == "checked" else [result.log_probs]
        add(f"score ({', '.join(marks)})" if marks else "score", result.score)
    add("objective J", result.objective)
    add("expected reward", result.expected_reward)
    add("KL (nats)", result.kl)
    add("regret", result.regret)
    add("J*, the optimum", result.optimum)
    table.add_row("J(pi0), the reference", shown(result.reference_value), "")
    for name, value in result.metrics.items():
        table.add_row(Text(name), shown(value), "")
    found = result.comparison
    if found is not None:
        table.add_section()
        add("KL(pi || pi*) (nats)", found.reverse_kl)
        add("KL(pi* || pi) (nats)", found.forward_kl)
        add("entropy (nats)", found.entropy)
        add("entropy of pi* (nats)", found.optimal_entropy)
        for name, value in found.optimal_metrics.items():
            add(f"{name} under pi*", value)
    shared = f"{result.episodes:,} episodes on {result.prompts} prompt{'s' if result.prompts > 1 else ''}"
    how = "computed over all states" if result.exact else f"tail {result.tail}"
    table.caption = f"{shared}, {result.tokens:,} tokens in {result.seconds:.1f} s, seed {result.seed}; {how}"
    return table


def make_certificate(
    env_id: str,
    arguments: dict[str, Any],
    samples: int,
    seed: int,
    prompts: Path | int | None,
    out: Path | None,
    console: Console,
    *,
    as_json: bool,
) -> None:
    """Certify a task and say where the certificate is and what it states.

    Its prompts are all evaluation prompts, or the first so many, or the lines of a file.
    """
    from tqdm import tqdm

    task = evaluation_task(env_id, arguments)
    if task.exact is not None:
        raise ValueError(f"{task.id} is solved exactly, which klrl solve does: there is nothing to certify")
    if prompts is not None:
        if out is None:
            option = "--first-prompts" if isinstance(prompts, int) else "--prompts-file"
            raise ValueError(f"{option} needs --out: the certificate is for Certificate.load to read")
        task = first_prompts(task, prompts) if isinstance(prompts, int) else with_prompts(task, prompts)
    with tqdm(total=len(task.prompts.tokens), unit="prompt", file=sys.stderr, delay=1) as bar:

        def progress(done: int, _: int, seconds_left: float) -> None:
            bar.update(done - bar.n)
            bar.set_postfix_str(f"{seconds_left:.0f} s left")

        certificate = certify_task(task, samples, seed, out, progress)
    path = certificate_folder() / certificate_name(task) if out is None else out
    best = certificate.optimum(task.kl_coef)
    if as_json:
        print_json(json.dumps({"path": str(path), **json.loads(best.to_json())}, indent=2), console)
        return
    console.print(str(path), markup=False, soft_wrap=True, highlight=False)
    console.print(
        f"J* {best.value:.5g} (95 %: {best.lower:.5g} to {best.upper:.5g}) at kl_coef {best.kl_coef:g}, "
        f"J(pi0) {best.reference_value:.5g}, {best.method}",
        soft_wrap=True,
    )


def first_prompts(task: Task, count: int) -> Task:
    """The task with the first of its prompts alone; it has another fingerprint.

    Raises:
        ValueError: it has fewer.
    """
    most = len(task.prompts.tokens)
    if count > most:
        raise ValueError(f"--first-prompts must be at most {most}, got {count}")
    kept = Prompts(task.prompts.tokens[:count], task.prompts.lengths[:count])
    return dataclasses.replace(task, prompts=kept, source=None)


def with_prompts(task: Task, path: Path) -> Task:
    """The task with prompts of one's own, one a line; it has another fingerprint.

    Raises:
        ValueError: the task has no prompts, or the file has none.
    """
    if not task.prompt_length:
        raise ValueError(f"{task.id} has no prompts: leave --prompts-file out")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"--prompts-file {str(path)!r} has no line of text")
    rows = [task.vocabulary.encode(line) for line in lines]
    return dataclasses.replace(task, prompts=Prompts.padded(rows, task.pad), source=None)
