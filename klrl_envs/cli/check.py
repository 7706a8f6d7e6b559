"""`klrl check`: whether results and entries hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from klrl_envs.cli.options import ImportOption


def check(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="result.json, entries, or folders with them at any depth."),
    ],
    modules: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON, and nothing else.")] = False,
) -> None:
    """Say of results and entries that they hold, or what is wrong with them.

    The numbers of a result are held against each other, its task's optimum and
    its budget; an entry against its seeds and the leaderboard's rules, too. The
    exit code is 1 where something is wrong.

    Example: [bold]klrl check runs/mine[/]
    """
    import json

    from klrl_envs.results.check import check_file, files_of

    console = Console(soft_wrap=True, highlight=False)
    paths = files_of(files)
    if as_json:
        checked = [check_file(path) for path in paths]
        console.print(json.dumps([each.plain() for each in checked], indent=2), markup=False)
    else:
        checked = []
        for path in paths:
            each = check_file(path)
            checked.append(each)
            console.print(f"{path}: {'holds' if each.holds else 'does not hold'}", markup=False)
            for problem in each.problems:
                console.print(f"  {problem}", markup=False)
    if not all(each.holds for each in checked):
        raise typer.Exit(1)
