"""`klrl signal`: what a training signal really does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from klrl_envs.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from klrl_envs.signals import Loss, Report

CLAIM = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<relation>[<>]=?)\s*(?P<bound>[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*"
)
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

    def value(self, report: Report) -> float | None:
        """What the report has; None where there is no such number."""
        return report.numbers()[self.name]

    def holds(self, report: Report) -> bool:
        """Whether it is so: never where there is no number."""
        value = self.value(report)
        return value is not None and RELATIONS[self.relation](value, self.bound)


def read_claim(text: str) -> Claim:
    """A claim as it is written.

    Raises:
        ValueError: not of the form NAME>=NUMBER, or no number of a report has this name.
    """
    from klrl_envs.signals.report import NUMBERS

    parts = CLAIM.fullmatch(text)
    if parts is None:
        raise ValueError(f'--assert takes claims as "score>=.99", got {text!r}')
    if parts["name"] not in NUMBERS:
        raise ValueError(f"--assert knows {', '.join(NUMBERS)}, got {text!r}")
    return Claim(text, parts["name"], parts["relation"], float(parts["bound"]))


def signal(
    loss: Annotated[
        str,
        typer.Argument(
            metavar="LOSS",
            help="A function from a batch to a loss, as module:function or file.py:function, or a method, as "
            "file.py:object.method; a class is made without arguments, and called.",
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
            help='As "score>=.99"; may be repeated. Of score, cosine, ratio, moved, padding, reward, kl, '
            "texts_left and found. The exit code is 1 where one does not hold.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Try this change on the end alone, by its name in the report; may be repeated, none for no "
            "change. All by default, and each takes as long as the end.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a training signal really does: no training, nothing sampled.

    On two prompts whose texts can all be written down every expectation is a
    finite sum: the expected gradient of the loss, how far it is from that of
    E\\[r] - kl_coef KL, where it leads from pi0, and what moves that end
    though the optimum stays. The function is given a klrl_envs.signals.Batch
    and returns what a trainer would call backward on. A batch has, of B
    texts of at most T tokens, log_probs, old_log_probs (of the policy that
    wrote), reference_log_probs, tokens and mask \\[B, T], logits and
    reference_logits \\[B, T, V], rewards and groups \\[B], and the numbers
    group_size and kl_coef.

    Examples:
      [bold]klrl signal klrl_envs.signals:reinforce[/]
      [bold]klrl signal my_trainer.py:loss --assert "score>=.99" --assert "moved<=.01"[/]
    """
    read, tried = [read_claim(claim) for claim in claims or []], () if changes == ["none"] else changes
    report_signal(loss, group, batch, sigma, read, tried, as_json=as_json)


def loss_named(name: str) -> Loss:
    """The function that a name stands for; of a class its instance.

    Raises:
        TypeError: no function, or a class that is not made without arguments.
    """
    from klrl_envs.cli.objects import object_named

    found: Any = object_named(name, "LOSS takes module:function or file.py:function")
    if isinstance(found, type):
        try:
            found = found()
        except TypeError as error:
            raise TypeError(f"{name} is a class that is not made without arguments: {error}") from error
    if not callable(found):
        raise TypeError(f"{name} is no function: {found!r}")
    return cast("Loss", found)


def report_signal(
    loss: str,
    group: int,
    batch: int,
    sigma: float,
    claims: Sequence[Claim],
    changes: Sequence[str] | None,
    *,
    as_json: bool,
) -> None:
    """Print the report of a loss, and exit with 1 where a claim does not hold."""
    from klrl_envs.signals import check_signal

    function = loss_named(loss)
    errors = Console(stderr=True)
    with errors.status("importing torch") as status:
        report = check_signal(
            function,
            group=group,
            batch=batch,
            sigma=sigma,
            changes=changes,
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
        value = claim.value(report)
        told = "there is no such number" if value is None else f"{claim.name} is {value:.6g}"
        errors.print(f"[bold red]does not hold:[/] {claim.text}: {told}")
    if failed:
        raise typer.Exit(1)


def print_report(report: Report, console: Console) -> None:
    """Tables and the verdict."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    console.print(report.head(), markup=False)
    for title, columns, rows in report.tables():
        table = Table(escape(title), box=SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(escape(column), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    legend, *follows, verdict = report.foot()
    console.print(legend, style="dim", markup=False)
    for line in follows:
        console.print(line, markup=False)
    console.print(verdict, style="bold", markup=False)
