"""What the agents share that is no algorithm: arguments, progress, and the files that a run leaves."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

import gymnasium
import numpy as np
from tqdm import tqdm

import klrl_envs
from klrl_envs.registry import find_row, make_task
from klrl_envs.tasks.base import Task
from klrl_envs.wrappers.recorder import append_line

SCHEMA_VERSION = 1
RECORDED = 4  # episodes of each update that are recorded


@dataclass
class Arguments:
    """What every agent takes."""

    env_id: str = "klrl/GridNavigation-v0"
    """the environment"""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """its arguments, as JSON"""
    seed: int = 0
    """of everything that is drawn"""
    out: str = "runs/latest"
    """folder for result.json, policy.safetensors, progress.jsonl and episodes.jsonl"""
    tokens: int | None = None
    """tokens to write in training; by default the environment's budget"""
    episodes: int = 4096
    """episodes of the evaluation"""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda"""
    threads: int = 0
    """of torch on the CPU; 0 leaves it to torch"""


ArgumentsType = TypeVar("ArgumentsType", bound=Arguments)


def parse(
    kind: type[ArgumentsType],
    description: str | None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> ArgumentsType:
    """Arguments of the command line; the docstring under a field of the dataclass is its help.

    Args:
        kind: the dataclass.
        description: the module's docstring.
        defaults: of what is None, by the kind of task; see ``settings_of``.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m agents.{Path(sys.argv[0]).stem}",
        description=description,
        formatter_class=HelpFormatter,
    )
    helps = field_docstrings(kind)
    for name in {name for settings in (defaults or {}).values() for name in settings}:
        values = (f"{task} {settings[name]}" for task, settings in (defaults or {}).items())
        helps[name] += f" (default: {', '.join(values)})"
    for item in dataclasses.fields(kind):
        text = str(item.type)
        default = item.default_factory() if callable(item.default_factory) else item.default
        shown = "" if default is None or isinstance(default, bool) else f" (default: {json.dumps(default)})"
        options: dict[str, Any] = {"default": default, "help": helps.get(item.name, "") + shown}
        if text == "bool":
            options["action"] = argparse.BooleanOptionalAction
        else:
            names = {"int": int, "float": float, "str": str}
            options["type"] = json.loads if "dict" in text else names[text.split(" |")[0]]
        parser.add_argument(f"--{item.name.replace('_', '-')}", **options)
    return kind(**vars(parser.parse_args()))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the docstring's lines as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


def settings_of(
    args: Arguments, tags: Sequence[str], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Arguments whose default depends on the kind of task, "exact" or "neural", by name."""
    chosen = defaults["neural" if "neural" in tags else "exact"]
    given = {name: getattr(args, name) for name in chosen}
    return {name: chosen[name] if value is None else value for name, value in given.items()}


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The string literal under each field of a dataclass and its bases."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for above, below in zip(body.body, body.body[1:]):
            literal = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and literal:
                found[above.target.id] = str(below.value.value)  # type: ignore[union-attr]
    return found


class Run:
    """One training: its task, its progress bar, and its files.

    Args:
        args: the agent's.
        agent: its name in the leaderboard.

    Attributes:
        row, task: the environment.
        budget: tokens to write in training.
        tokens: written so far.
        out: the folder.
    """

    def __init__(self, args: Arguments, agent: str, *, budget: int | None = None) -> None:
        self.args = args
        self.agent = agent
        self.row = find_row(args.env_id)
        self.task = make_task(self.row.id, **args.env_kwargs)
        declared = self.row.token_budget if args.tokens is None else args.tokens
        self.budget = declared if budget is None else budget
        self.tokens = 0
        self.out = Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        for name in ("progress.jsonl", "episodes.jsonl", "result.json", "policy.safetensors"):
            (self.out / name).unlink(missing_ok=True)
        self._started = time.perf_counter()
        self._bar = tqdm(
            total=self.budget, unit="tok", unit_scale=True, desc=f"{agent} {self.row.id}",
            disable=self.budget == 0, dynamic_ncols=True, mininterval=1.0,
        )  # fmt: skip

    @cached_property
    def evaluation_task(self) -> Task:
        """The task on the evaluation prompts."""
        from klrl_envs.optima.optimum import evaluation_task

        return evaluation_task(self.row.gym_id, dict(self.args.env_kwargs))

    @property
    def left(self) -> bool:
        """Whether there are tokens left to write."""
        return self.tokens < self.budget

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return min(self.tokens / self.budget, 1.0) if self.budget else 1.0

    def step(self, tokens: int, **numbers: SupportsFloat) -> None:
        """Count tokens written, and note numbers, where there are any, in progress.jsonl and the bar."""
        self._bar.update(max(min(tokens, self.budget - self.tokens), 0))
        self.tokens += tokens
        if not numbers:
            return
        shown = {name: round(float(value), 6) for name, value in numbers.items()}
        seconds = round(time.perf_counter() - self._started, 3)
        append_line(self.out / "progress.jsonl", {"tokens": self.tokens, "seconds": seconds, **shown})
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in list(shown.items())[:4]})

    def record(
        self, texts: Sequence[str], returns: Any, nats: Any, metrics: Mapping[str, Any], most: int = RECORDED
    ) -> None:
        """Some episodes of an update as lines of episodes.jsonl, in the recorder's form."""
        for index in range(min(most, len(texts))):
            record = {"tokens": self.tokens, "text": texts[index], "return": float(returns[index])}
            record |= {"k1": float(nats[index])}
            record |= {name: values[index] for name, values in metrics.items() if values.ndim == 1}
            append_line(self.out / "episodes.jsonl", record)

    def finish(self, policy: Any, *, features: bool = False, weights: Mapping[str, Any] | None = None) -> Any:
        """Evaluate, write result.json (and policy.safetensors), and return the ``Evaluation``."""
        self._bar.close()
        env_id = self.row.gym_features_id if features else self.row.gym_id
        arguments = {"episodes": self.args.episodes, "seed": self.args.seed, **self.args.env_kwargs}
        result = klrl_envs.evaluate(policy, env_id, **arguments)
        if weights is not None:
            from safetensors.torch import save_file

            save_file({name: tensor.contiguous() for name, tensor in weights.items()},
                      self.out / "policy.safetensors")  # fmt: skip
        self.write_result(result)
        return result

    def write_result(self, evaluation: Any) -> None:
        """result.json, in the leaderboard's schema."""
        score = evaluation.score
        record = {
            "schema_version": SCHEMA_VERSION,
            "agent": {"name": self.agent, "url": f"agents/{self.agent}.py", "license": "MIT"},
            "env_id": self.row.gym_id,
            "env_kwargs": self.args.env_kwargs,
            "kl_coef": evaluation.kl_coef,
            "task_sha256": evaluation.task_sha256,
            "command": command_of(self.args, self.agent),
            "seed": self.args.seed,
            "score": None if score is None else score.estimate,
            "score_interval": None if score is None else [score.lower, score.upper],
            "objective": evaluation.objective.estimate,
            "expected_reward": evaluation.expected_reward.estimate,
            "kl": evaluation.kl.estimate,
            "regret": evaluation.regret.estimate,
            "tokens": self.tokens,
            "seconds": round(time.perf_counter() - self._started, 3),
            "hardware": hardware(self.args.device),
            "versions": versions(),
            "commit": commit(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "diagnostics": diagnostics_of(evaluation),
        }
        temporary = self.out / f".result.json.{os.getpid()}"
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, self.out / "result.json")


def diagnostics_of(evaluation: Any) -> dict[str, Any] | None:
    """How the policy differs from pi* as plain numbers, None for an infinite one; None where not known."""
    found = evaluation.comparison
    if found is None:
        return None

    def plain(value: Any) -> float | None:
        return value.estimate if math.isfinite(value.estimate) else None

    names = ("reverse_kl", "forward_kl", "entropy", "optimal_entropy")
    return {
        "exact": found.exact,
        **{name: plain(getattr(found, name)) for name in names},
        "metrics": {name: plain(value) for name, value in found.metrics.items()},
        "optimal_metrics": {name: plain(value) for name, value in found.optimal_metrics.items()},
    }


def report(evaluation: Any) -> str:
    """An evaluation in one line."""
    score = evaluation.score
    shown = "none" if score is None else f"{score.estimate:.3f} [{score.lower:.3f}, {score.upper:.3f}]"
    return (
        f"{evaluation.env_id}: score {shown}, expected reward {evaluation.expected_reward.estimate:.4g}, "
        f"KL {evaluation.kl.estimate:.3g} nats, regret {evaluation.regret.estimate:.4g}"
    )


def prepare(args: Arguments) -> Any:
    """The torch device of the arguments; seeds torch, sets its threads, demands determinism on the CPU."""
    import torch

    if args.device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {args.device!r}")
    name = "cuda" if args.device == "auto" and torch.cuda.is_available() else args.device
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch sees no CUDA device; allowed here are auto and cpu")
    device = torch.device("cpu" if name == "auto" else name)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
    return device


def command_of(args: Arguments, agent: str) -> str:
    """The command that does this run again."""
    words = ["python", "-m", f"agents.{agent}"]
    for item in dataclasses.fields(args):
        value = getattr(args, item.name)
        default = item.default_factory() if callable(item.default_factory) else item.default
        if item.name in ("env_id", "seed", "out") or value != default:
            flag = item.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                words += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return shlex.join(words)


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores that this process may use, accelerator or None, memory in gigabytes or None."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = None
    torch = sys.modules.get("torch")
    if device != "cpu" and torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    memory = None
    with suppress(ValueError, AttributeError):  # not on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": cpu or "unknown", "cores": cores, "gpu": gpu, "memory_gb": memory}


def versions() -> dict[str, str | None]:
    """Of Python and of the libraries that this process has loaded."""

    def loaded(module: str, distribution: str) -> str | None:
        return metadata.version(distribution) if module in sys.modules else None

    return {
        "python": platform.python_version(),
        "klrl_envs": klrl_envs.__version__,
        "torch": loaded("torch", "torch"),
        "gymnasium": gymnasium.__version__,
        "stable_baselines3": loaded("stable_baselines3", "stable-baselines3"),
    }


def commit() -> str:
    """The checkout's commit, "-dirty" where its code has changed since; "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "agents", "klrl_envs")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def learning_rate(peak: float, progress: float, warm_up: float) -> float:
    """Linear warm-up over the first share of the training, then linear decay to a twentieth."""
    if progress < warm_up:
        return peak * (progress + 0.1 * warm_up) / (1.1 * warm_up)
    return peak * (1 - 0.95 * (progress - warm_up) / (1 - warm_up))


def mean(values: Any) -> float:
    """The mean as a float, 0 of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()) if array.size else 0.0
