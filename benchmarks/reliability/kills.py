"""Processes that are killed at random moments and begun again, until enough were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.reliability.record import ROOT

KILLS = 20


@dataclass
class Subject:
    """A command that goes on where it was stopped.

    Attributes:
        command: of a folder that its life lies in.
        finished: whether a folder's life is over.
        environment: variables of a folder's processes.
    """

    command: Callable[[Path], Sequence[str]]
    finished: Callable[[Path], bool]
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda folder: {})

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """Begin or go on."""
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            self.command(folder),
            cwd=ROOT,
            env={**os.environ, **self.environment(folder)},
            stdout=subprocess.DEVNULL,
            stderr=(folder.parent / f"{folder.name}.log").open("wb"),
        )

    def to_its_end(self, folder: Path) -> float:
        """Run undisturbed; the seconds that took.

        Raises:
            RuntimeError: it failed, with the end of what it said.
        """
        began = time.monotonic()
        if self.start(folder).wait():
            said = (folder.parent / f"{folder.name}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"it does not go on in {folder}: {said.strip()[-1_000:]}")
        return time.monotonic() - began


def killed(subject: Subject, folder: Path, kills: int, seed: int) -> tuple[Path, list[Path]]:
    """A life that was left alone, and lives that were killed and went on, so many times in all.

    Each kill comes at a moment that is drawn between the start of a process and the seconds that the whole
    takes; where a life ends before enough were killed, another begins.
    """
    whole, rng, done = folder / "whole", np.random.default_rng(seed), 0
    seconds = subject.to_its_end(whole)
    lives: list[Path] = []
    while done < kills:
        lives.append(folder / f"life-{len(lives)}")
        while done < kills and not subject.finished(lives[-1]):
            process = subject.start(lives[-1])
            try:
                process.wait(float(rng.uniform(0, seconds)))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                done += process.wait() == -signal.SIGKILL
            if process.returncode not in (0, -signal.SIGKILL):
                subject.to_its_end(lives[-1])  # which says why it fails, if it does so again
        if not subject.finished(lives[-1]):
            subject.to_its_end(lives[-1])
    return whole, lives
