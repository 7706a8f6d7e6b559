"""Options that several commands of `klrl` have."""

from __future__ import annotations

from typing import Annotated

import typer


def import_modules(modules: list[str] | None) -> list[str] | None:
    """Import modules, which register environments of one's own."""
    from klrl_envs.registry import import_module

    for module in modules or []:
        import_module(module)
    return modules


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
