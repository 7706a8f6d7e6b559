"""`optimum`: J*, pi* and the frontier of an environment, exact or certified."""

from __future__ import annotations

import json
import os
import shlex
from collections import OrderedDict
from pathlib import Path
from typing import Any

from klrl_envs.assets import asset_path, manifest
from klrl_envs.envs.lookup import EnvOrId, evaluation_task
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.certificate import Certificate
from klrl_envs.optima.dynamic_programme import solve_problem
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.result import FrontierPoint, Optimum
from klrl_envs.optima.terminal_law import has_law, terminal_law
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.row import NAMESPACE

__all__ = [
    "FrontierPoint",
    "NotCertified",
    "Optimum",
    "certificate_name",
    "find_certificate",
    "optimum",
    "optimum_of",
    "problem_of",
]

CACHED_SOLUTIONS = 4
"""Solved tasks that a process keeps."""

CACHED_NUMBERS = 1 << 27
"""Numbers that they may hold together, 1 GiB, beside the latest."""

_solved: OrderedDict[tuple[Any, ...], Optimum] = OrderedDict()


class NotCertified(LookupError):
    """No certificate states the optimum of this task."""


def optimum(env_or_id: EnvOrId, **kwargs: Any) -> Optimum:
    """The optimum of an environment on its evaluation prompts.

    Args:
        env_or_id: see `EnvOrId`.
        **kwargs: the environment's arguments, with an id: kl_coef, horizon, reference, ...

    Returns:
        An `Optimum`. Exact tasks are solved, and the last few solutions are kept; others are read from
        the certificate that ships with the package, or that `klrl certify` made.

    Raises:
        ValueError: an unknown id, or an argument out of range, kl_coef among them.
        TypeError: not an environment of this package, or arguments beside a made environment.
        NotCertified: a task that is not exact and that nobody certified with these arguments.
    """
    if "kl_coef" in kwargs:
        check_kl_coef(kwargs["kl_coef"])
    return optimum_of(evaluation_task(env_or_id, kwargs))


def public_id(task: Task) -> str:
    """The id that `gym.make` takes, or the task's own where it is not registered."""
    return task.id if task.source is None or "/" in task.id else f"{NAMESPACE}/{task.id}"


def certificate_name(task: Task) -> str:
    """The file name of a task's certificate."""
    return f"{task.id.replace('/', '.')}-{task.fingerprint[:12]}.safetensors"


def certificate_folder() -> Path:
    """Where certificates of one's own are kept: `$KLRL_HOME/certificates`, `~/.cache/klrl` by default."""
    home = os.environ.get("KLRL_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "klrl") / "certificates"


def find_certificate(task: Task) -> Certificate:
    """The certificate of a task: the one that ships with the package, or one of one's own.

    Raises:
        NotCertified: there is none.
        ValueError: the file is damaged, or of another task.
    """
    name = certificate_name(task)
    shipped, own = f"certificates/{name}", certificate_folder() / name
    if shipped in manifest():
        path = asset_path(shipped)
    elif own.is_file():
        path = own
    else:
        raise NotCertified(
            f"{public_id(task)} with these arguments has no certified optimum (looked for {name} in the "
            f"package and in {own.parent}); make one with: {_certify_command(task)}"
        )
    certificate = Certificate.load(path)
    if certificate.fingerprint != task.fingerprint:
        raise ValueError(
            f"{path} is the certificate of another task: fingerprint {certificate.fingerprint}, "
            f"expected {task.fingerprint}"
        )
    return certificate


def _certify_command(task: Task) -> str:
    parts = ["klrl", "certify", public_id(task)]
    if task.source is not None:
        parts += [] if task.source.module is None else ["--import", task.source.module]
        for name, value in task.source.arguments.items():
            if name in ("horizon", "reference"):
                parts += [f"--{name}", str(value)]
            elif name not in ("kl_coef", "prompts"):
                parts += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(parts)


def problem_of(task: AutomatonTask) -> Problem:
    """What the solver is given of a task: reference, reward, and where its prompts lead."""
    return Problem(task.reference, task.automaton, task.horizon, task.end_token, task.prompt_starts)


def optimum_of(task: Task) -> Optimum:
    """The optimum of a task on the prompts that it has.

    Raises:
        NotCertified: the task is not exact, and nobody certified it.
    """
    return find_certificate(task).optimum(task.kl_coef) if task.exact is None else solved(task.exact)


def solved(task: AutomatonTask) -> Optimum:
    """The exact optimum of a task; the last few solutions are kept."""
    key = (public_id(task), task.fingerprint, task.kl_coef)
    if key not in _solved:
        problem = problem_of(task)
        for known_key, known in _solved.items():
            if known_key[:-1] == key[:-1] and known.policy is not None:
                problem = known.policy.problem
        solution = solve_problem(problem, task.kl_coef)
        if has_law(problem):  # one pass for what would take the solution three
            law = terminal_law(problem)
            reference_value, (_, reward, kl) = law.reference_value, law.optimum(task.kl_coef)
        else:
            reference_value, reward, kl = solution.reference_value, solution.expected_reward, solution.kl
        _solved[key] = Optimum(
            env_id=public_id(task),
            kl_coef=task.kl_coef,
            value=solution.value,
            value_stderr=0.0,
            lower=solution.value,
            upper=solution.value,
            exact=True,
            reference_value=reference_value,
            reference_value_stderr=0.0,
            expected_reward=reward,
            expected_reward_stderr=0.0,
            expected_reward_interval=(reward, reward),
            kl=kl,
            kl_stderr=0.0,
            kl_interval=(kl, kl),
            rigorous_lower=solution.value,
            rigorous_upper=solution.value,
            effective_samples=None,
            method="soft dynamic programme, float64",
            policy=solution,
        )
        while len(_solved) > 1 and (len(_solved) > CACHED_SOLUTIONS or held_numbers() > CACHED_NUMBERS):
            _solved.popitem(last=False)
    _solved.move_to_end(key)
    return _solved[key]


def held_numbers() -> int:
    """Numbers in the tables of the solutions that are kept."""
    kept = (best.policy for best in _solved.values())
    return sum(table.size for policy in kept if policy is not None for table in policy.tables)
