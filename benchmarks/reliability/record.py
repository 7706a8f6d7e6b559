"""What a check found, as JSON: each thing that was asked, what was seen, and whether it held."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from klrl_envs.results.document import Document, Strict
from klrl_envs.results.provenance import hardware
from klrl_envs.results.record import Hardware

FOLDER = Path(__file__).parent
RECORDS = FOLDER / "records"
ROOT = FOLDER.parents[1]
LIBRARIES = ("gymnasium", "numpy", "scipy", "torch", "safetensors")
CHECKS = (
    "determinism", "start_methods", "copies", "memory", "writers", "disk_full", "killed_runner",
    "killed_certify", "killed_training", "versions",
)  # fmt: skip
"""Each a module with TITLE, ABOUT and ``measure``."""


class Finding(Strict):
    """One thing that was asked.

    Attributes:
        what: was asked.
        seen: what was measured; why not, where it was not run.
        limit: what had to be seen.
        holds: whether it was; None where it was not run.
    """

    what: str
    seen: str
    limit: str
    holds: bool | None


class Record(Document):
    """What a check found, where and when, and how long that took."""

    name: str
    findings: tuple[Finding, ...]
    seconds: float
    date: str
    system: str
    python: str
    hardware: Hardware
    libraries: dict[str, str]

    @property
    def holds(self) -> bool:
        """Whether nothing that was run failed."""
        return all(each.holds is not False for each in self.findings)


def measured(name: str, check: ModuleType) -> Record:
    """Run a check."""
    began = time.monotonic()
    findings: Sequence[Finding] = check.measure()
    return Record(
        name=name,
        findings=tuple(findings),
        seconds=round(time.monotonic() - began, 1),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        system=f"{platform.system()} {platform.machine()}, {'-'.join(platform.libc_ver())}",
        python=platform.python_version(),
        hardware=hardware("cpu"),
        libraries={library: version(library) for library in LIBRARIES},
    )


def not_run(what: str, why: str, limit: str) -> Finding:
    """What cannot be asked here."""
    return Finding(what=what, seen=f"not run: {why}", limit=limit, holds=None)


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of the checkout in a process of its own."""
    return [sys.executable, "-m", name, *arguments]


def as_json(found: object) -> str:
    """What a process of a check tells the one that started it, in a line."""
    return json.dumps(found)
