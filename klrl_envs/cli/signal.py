"""`klrl signal`: what a training signal really does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from klrl_envs.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from klrl_envs.signals import Report

CLAIM = re.compile(r"\s*(?P<name>\w+)\s*(?P<relation>[<>]=?)\s*(?P<bound>[+-]?\.?\d[\d.e+-]*)\s*")
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """That a number of the report is on one side of a bound."""

    text: str
    name: str
    relation: str
    bound: float

    def value(self, report: Report) -> float:
        """What the report has.

        Raises:
            ValueError: no such number.
        """
        numbers = report.numbers()
        if self.name not in numbers:
            raise ValueError(f"--assert knows {', '.join(numbers)}, got {self.text!r}")
        return numbers[self.name]

    def holds(self, report: Report) -> bool:
        """Whether it is so."""
        return RELATIONS[self.relation](self.value(report), self.bound)


def read_claim(text: str) -> Claim:
    """A claim as it is written.

    Raises:
        ValueError: not of the form NAME>=NUMBER.
    """
    parts = CLAIM.fullmatch(text)
    if parts is None:
        raise ValueError(f'--assert takes claims as "score>=.99", got {text!r}')
    return Claim(text, parts["name"], parts["relation"], float(parts["bound"]))


def signal(
    loss: Annotated[
        str,
        typer.Argument(
            metavar="LOSS", help="A function from a batch to a loss, as module:function or file.py:function."
        ),
    ],
    group: Annotated[
        int, typer.Option(help="Texts of a prompt that are compared with each other.", min=1)
    ] = 4,
    batch: Annotated[
        int,
        typer.Option(
            help="Groups a call: 1, or an even number for losses that couple prompts (by the mean of the "
            "batch, its deviation, its number of tokens).",
            min=1,
        ),
    ] = 1,
    sigma: Annotated[
        float, typer.Option(help="Nats by which the sampler is off, among the harder conditions.", min=0)
    ] = 0.1,
    claims: Annotated[
        list[str] | None,
        typer.Option(
            "--assert",
            metavar="CLAIM",
            help='As "score>=.99"; may be repeated. Of score, cosine, moved, padding, reward, kl, texts_left '
            "and found. The exit code is 1 where one does not hold.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a training signal really does: no training, nothing sampled.

    On two prompts whose texts can all be written down every expectation is a
    finite sum: the expected gradient of the loss, how far it is from that of
    E\\[r] - kl_coef KL, where it leads from pi0, and what moves that end
    though the optimum stays. The function is given a klrl_envs.signals.Batch
    (log-probs, rewards, mask, groups) and returns what a trainer would call
    backward on.

    Examples:
      [bold]klrl signal klrl_envs.signals:reinforce[/]
      [bold]klrl signal my_trainer.py:loss --group 4 --assert "score>=.99"[/]
    """
    report_signal(loss, group, batch, sigma, [read_claim(claim) for claim in claims or []], as_json=as_json)


def report_signal(
    loss: str, group: int, batch: int, sigma: float, claims: Sequence[Claim], *, as_json: bool
) -> None:
    """Print the report of a loss, and exit with 1 where a claim does not hold."""
    from klrl_envs.cli.objects import object_named
    from klrl_envs.signals import check_signal

    function = object_named(loss, "LOSS takes module:function or file.py:function")
    if not callable(function):
        raise TypeError(f"{loss} is no function: {function!r}")
    errors = Console(stderr=True)
    with errors.status("importing torch") as status:
        report = check_signal(
            function,  # pyright: ignore[reportArgumentType]
            group=group,
            batch=batch,
            sigma=sigma,
            name=loss,
            progress=lambda done, total, what: status.update(f"{done} of {total}: {what}"),
        )
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        print_json(report.to_json(), console)
    else:
        print_report(report, console)
    failed = [claim for claim in claims if not claim.holds(report)]
    for claim in failed:
        errors.print(f"[bold red]does not hold:[/] {claim.text}: {claim.name} is {claim.value(report):.6g}")
    if failed:
        raise typer.Exit(1)


def print_report(report: Report, console: Console) -> None:
    """Tables and the verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from klrl_envs.signals.report import LEGEND

    console.print(report.head(), markup=False)
    for title, columns, rows in report.tables():
        table = Table(escape(title), box=SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(escape(column), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    console.print(LEGEND, style="dim", markup=False)
    if report.follows:
        console.print(f"It is the gradient of: {report.follows}", markup=False)
    console.print(report.verdict, style="bold", markup=False)
