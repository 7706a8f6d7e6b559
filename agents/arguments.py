"""The arguments of an agent: a dataclass, its command line, and the command that does a run again."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import shlex
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from klrl_envs import Task

Defaults = Mapping[str, Mapping[str, Any]]
"""Of arguments that are None: a value for each kind of training (see ``kind_of``), and then by name."""


ALWAYS = ("env_id", "seed", "out")
"""What the command of a run says in any case."""


@dataclass
class Arguments:
    """What every agent takes."""

    env_id: str = "klrl/GridNavigation-v0"
    """the environment"""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """its arguments, as JSON"""
    imports: list[str] = field(default_factory=list, metadata={"flag": "--import"})
    """a module or file.py to import first, such as one that registers the environment; may be repeated"""
    seed: int = 0
    """of everything that is drawn"""
    out: str = "runs/latest"
    """folder for result.json, policy.safetensors, progress.jsonl and episodes.jsonl"""
    tokens: int | None = None
    """tokens to write in training; by default the environment's budget"""
    episodes: int = 4096
    """episodes of the evaluation"""
    evaluation_seed: int | None = None
    """of the evaluation; by default drawn when the policy is there, as every row that ranks needs"""
    tuned: str = "by hand, on the suite; what that cost was not recorded"
    """how the settings were chosen and what that cost in tokens, or \"untuned\", for the record"""
    name: str | None = None
    """the agent's name on the leaderboard; by default its module's"""
    device: str = "auto"
    """auto (CUDA where there is one), cpu, cuda"""
    threads: int = 0
    """of torch on the CPU; 0 leaves it to torch"""


@dataclass
class NetworkArguments(Arguments):
    """What the agents take that train a network of ``agents.networks``."""

    observe: str = "state"
    """what the policy sees: "state" for all that helps, "tokens" for the raw tokens alone"""
    train: str = "heads"
    """which weights move: "heads" on pi0; on neural tasks "all" of a language model that starts as pi0, or
    "lora", factors of low rank on it"""
    rank: int = 8
    """of the factors"""
    alpha: int = 16
    """the factors' product counts alpha / rank times"""
    micro_batch: int = 0
    """episodes whose gradient is computed at once, 0 for as many as is fastest; the sum is the same"""
    checkpoint_layers: bool = False
    """of a language model: compute activations again for the gradient, in place of keeping them"""
    checkpoint_seconds: float = 60.0
    """between two checkpoints"""
    resume: bool = False
    """go on from the checkpoint in the folder, if there is one; its arguments must be these"""


ArgumentsType = TypeVar("ArgumentsType", bound=Arguments)


def parse(
    kind: type[ArgumentsType], description: str | None, defaults: Defaults | None = None
) -> ArgumentsType:
    """Arguments of the command line; the docstring under a field of the dataclass is its help.

    Args:
        kind: the dataclass.
        description: the module's docstring.
        defaults: of what is None; they are shown in the help.
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
        default = default_of(item)
        shown = "" if default in (None, []) or isinstance(default, bool) else json.dumps(default)
        text = helps.get(item.name, "") + (f" (default: {shown})" if shown else "")
        options = {"dest": item.name, "default": default, "help": text, **reading(str(item.type))}
        parser.add_argument(flag_of(item), **options)
    return kind(**vars(parser.parse_args()))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the docstring's lines as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


def reading(annotation: str) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    if annotation == "bool":
        return {"action": argparse.BooleanOptionalAction}
    if annotation == "list[str]":
        return {"action": "append"}
    if annotation.startswith("dict"):
        return {"type": json.loads}
    return {"type": {"int": int, "float": float, "str": str}[annotation.split(" |")[0]]}


def default_of(item: dataclasses.Field[Any]) -> Any:
    """The default of a field."""
    return item.default_factory() if callable(item.default_factory) else item.default


def flag_of(item: dataclasses.Field[Any]) -> str:
    """The flag of a field: its name, but where it says another."""
    return item.metadata.get("flag", f"--{item.name.replace('_', '-')}")


def field_docstrings(kind: type[Any]) -> dict[str, str]:
    """The string literal under each field of a dataclass and its bases."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for above, below in zip(body.body, body.body[1:]):
            if (
                isinstance(above, ast.AnnAssign)
                and isinstance(above.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[above.target.id] = str(below.value.value)
    return found


def kind_of(args: Arguments, task: Task) -> str:
    """The kind of training: "exact", "neural" (heads on pi0), "neural-all" or "neural-lora"."""
    train = getattr(args, "train", "heads")
    return "exact" if task.exact is not None else "neural" if train == "heads" else f"neural-{train}"


def settings_of(args: Arguments, task: Task, defaults: Defaults) -> dict[str, Any]:
    """The arguments, by name, whose default depends on the kind of training.

    ValueError where there is no such kind.
    """
    kind = kind_of(args, task)
    if kind not in defaults:
        raise ValueError(f"train must be one of heads, all, lora, got {getattr(args, 'train', None)!r}")
    chosen = defaults[kind]
    given = {name: getattr(args, name) for name in chosen}
    return {name: chosen[name] if value is None else value for name, value in given.items()}


def command_of(args: Arguments, agent: str) -> str:
    """The command that does this run again."""
    words = ["python", "-m", f"agents.{agent}"]
    for item in dataclasses.fields(args):
        value, flag = getattr(args, item.name), flag_of(item)
        if item.name == "resume" or (value == default_of(item) and item.name not in ALWAYS):
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [word for each in value for word in (flag, str(each))]
        else:
            words += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return shlex.join(words)
