"""`klrl check`: whether results and entries hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from klrl_envs.cli.options import ImportOption, JsonOption

if TYPE_CHECKING:
    from klrl_envs.results.check import Checked


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="result.json, entries, or folders of them; entries lie in folders of that name.",
        ),
    ],
    modules: ImportOption = None,
    as_json: JsonOption = False,
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
    checked: list[Checked] = []
    for path in files_of(files):
        each = check_file(path)
        checked.append(each)
        if not as_json:  # a line as soon as it is known: optima may take a while
            console.print(f"{path}: {'holds' if each.holds else 'does not hold'}", markup=False)
            for problem in each.problems:
                console.print(f"  {problem}", markup=False)
    if as_json:
        console.print(json.dumps([each.plain() for each in checked], indent=2), markup=False)
    if not all(each.holds for each in checked):
        raise typer.Exit(1)
