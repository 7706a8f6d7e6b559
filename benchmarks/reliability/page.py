"""The page of the records: a part a check, with its command, what was seen and the limit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.claims.page import table, wrapped
from benchmarks.reliability.record import CHECKS, Record

COLUMNS = ("what was asked", "what was seen", "limit", "")
MARKS = {True: "holds", False: "**fails**", None: "not run"}
HEAD = """Made by `python -m benchmarks.reliability`; no number is typed in. Each check has a command of its
own, which measures anew and replaces its record in [records](records); the exit code is 1 where something
does not hold. Every process of a check has one thread."""


def read_records(folder: Path) -> dict[str, Record]:
    """The records that a folder holds, by their names."""
    paths = {name: folder / f"{name}.json" for name in CHECKS}
    return {name: Record.load(path) for name, path in paths.items() if path.is_file()}


def page(records: Mapping[str, Record]) -> str:
    """The page as Markdown."""
    found = [each for record in records.values() for each in record.findings]
    counts = {told: sum(each.holds is holds for each in found) for holds, told in MARKS.items()}
    told = f"{counts['holds']} of {len(found)} findings hold"
    if counts["**fails**"]:
        told += f", {counts['**fails**']} fail"
    if counts["not run"]:
        told += f", {counts['not run']} could not be asked on the machine of the record"
    parts = ["# Reliability", HEAD, f"{told}."]
    for name in CHECKS:
        check = importlib.import_module(f"benchmarks.reliability.{name}")
        parts += [f"## {check.TITLE}", check.ABOUT, f"`python -m benchmarks.reliability --only {name}`"]
        parts += part_of(records[name]) if name in records else ["Not run yet."]
    return wrapped(parts)


def part_of(record: Record) -> list[str]:
    """What a record says."""
    rows = [(each.what, each.seen, each.limit, MARKS[each.holds]) for each in record.findings]
    libraries = ", ".join(f"{name} {number}" for name, number in record.libraries.items())
    return [
        table(COLUMNS, rows, words=len(COLUMNS)),
        f"{record.date}, {record.seconds:.0f} s on {record.hardware.cpu} ({record.hardware.cores} cores); "
        f"{record.system}, Python {record.python}, {libraries}.",
    ]
