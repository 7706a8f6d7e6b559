"""Options that several commands of `klrl` have, and how they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console


def import_modules(modules: list[str] | None) -> list[str] | None:
    """Import modules, which register environments of one's own."""
    from klrl_envs.registry import import_module

    for module in modules or []:
        import_module(module)
    return modules


JsonOption = Annotated[bool, typer.Option("--json", help="The result as JSON, and nothing else.")]

ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        callback=import_modules,
        is_eager=True,
        help="A module, or file.py, that registers environments of your own; may be repeated.",
    ),
]
KlCoefOption = Annotated[
    float | None, typer.Option(help="Units of reward per nat; the environment's own by default.")
]
HorizonOption = Annotated[int | None, typer.Option(help="The most tokens of a text.")]
ReferenceOption = Annotated[str | None, typer.Option(help="pi0: a name, a folder or a hub id.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another argument of the environment; may be repeated."),
]
DeviceOption = Annotated[
    str, typer.Option(help="Of pi0's network: auto (CUDA where there is one), cpu or cuda; a table has none.")
]
SeedOption = Annotated[int, typer.Option(help="Of all that is drawn.", min=0)]


def task_arguments(
    kl_coef: float | None, horizon: int | None, reference: str | None, settings: list[str] | None
) -> dict[str, Any]:
    """The environment's arguments that were given; values of --set are read as JSON, else as text."""
    named = {"kl_coef": kl_coef, "horizon": horizon, "reference": reference}
    arguments: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, got {setting!r}")
        try:
            arguments[name] = json.loads(text)
        except json.JSONDecodeError:
            arguments[name] = text
    return arguments


def print_json(text: str, console: Console) -> None:
    """Print JSON as it is: without colour, markup or lines that are broken."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_path(path: Path, console: Console, *, as_json: bool) -> None:
    """Print where something is: a line, or {"path": ...}."""
    print_json(json.dumps({"path": str(path)}) if as_json else str(path), console)
