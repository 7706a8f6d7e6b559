"""A row of the table: a loss, how it is called, and what was found, kept as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from klrl_envs.results.document import write_atomically
from klrl_envs.signals import Loss, check_signal, random_task
from klrl_envs.signals.variants import BATCH_STEPS, STAKES

Kind = Literal["TRL", "formula"]

ROOT = Path(__file__).resolve().parents[2]

TASK = random_task(words=1, horizon=3)
"""Two prompts of 4 texts of 1 to 3 tokens: what ``check_signal`` takes where prompts share a call."""


CHANGES = (
    "rewards and kl_coef times 10",
    "a word spelled with 3 tokens",
    f"the last prompt's rewards times {STAKES:g}",
    "groups of 2",
    f"{BATCH_STEPS} steps on each batch",
)
"""What is tried on each end: what tells these losses apart, of all that ``check_signal`` knows."""


@dataclass(frozen=True)
class Row:
    """A loss and how it is called.

    Attributes:
        name: of its file.
        label: what the page calls it.
        kind: whose code it is.
        source: a file of the trainer, or an arXiv id, a repository and path.
        loss: makes it.
        group, batch: see ``check_signal``.
        changes: what is tried on its end.
        modules: what must be installed, and whose versions are kept.
    """

    name: str
    label: str
    kind: Kind
    source: str
    loss: Callable[[], Loss]
    group: int = 4
    batch: int = 1
    changes: tuple[str, ...] = CHANGES
    modules: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """What is not installed."""
        return [name for name in self.modules if find_spec(name) is None]

    def path(self, folder: Path) -> Path:
        """Where its numbers are kept."""
        return folder / f"{self.name}.json"

    def run(self, folder: Path, told: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
        """Compute its numbers and keep them."""
        began = time.process_time()
        report = check_signal(
            self.loss(),
            group=self.group,
            batch=self.batch,
            task=TASK,
            changes=self.changes,
            name=self.label,
            progress=told,
        )
        numbers = {
            "versions": {name: version_of(name) for name in ("torch", *self.modules)},
            "core_seconds": round(time.process_time() - began, 1),
            # an error's place is told from here on, not where this machine has the repository
            "report": json.loads(report.to_json().replace(f"{ROOT}/", "")),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(folder), json.dumps(numbers, indent=1) + "\n")
        return numbers

    def read(self, folder: Path) -> dict[str, Any] | None:
        """Its numbers; None where it was not run."""
        path = self.path(folder)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def version_of(package: str) -> str:
    """What is installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
