"""How far a benchmark is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from klrl_envs.results.plan import Group, PlannedRun


class Clock:
    """Estimates the time left from how long finished runs of the same group took."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.seen: dict[Group, list[float]] = {}

    def saw(self, run: PlannedRun, seconds: float) -> None:
        """Note how long a run took."""
        self.seen.setdefault(run.group, []).append(seconds)

    def left(self, waiting: Sequence[PlannedRun], running: dict[PlannedRun, float]) -> float | None:
        """Seconds until all is done; `running` maps a run to its start. None as long as nothing is known."""
        known = [seconds for values in self.seen.values() for seconds in values]
        if not known:
            return None
        total = 0.0
        for run in [*waiting, *running]:
            values = self.seen.get(run.group, known)
            total += sum(values) / len(values)
            if run in running:
                total -= min(sum(values) / len(values), time.monotonic() - running[run])
        return total / self.jobs


def duration(seconds: float | None) -> str:
    """Seconds in words."""
    if seconds is None:
        return "unknown"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def progress(
    total: int, text: Callable[[], str]
) -> Generator[tuple[Callable[[str], None], Callable[[], None]]]:
    """A bar with the time left on a terminal, plain lines elsewhere.

    Gives two functions: print a line, and note that one run is done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    class Left(TextColumn):
        def render(self, task: Any) -> Any:
            self.text_format = text().replace("{", "{{").replace("}", "}}")
            return super().render(task)

    console = Console(soft_wrap=True, highlight=False)
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Left(""))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda line: console.print(line, markup=False), lambda: bar.advance(task)
