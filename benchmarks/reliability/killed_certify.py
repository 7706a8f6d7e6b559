"""A certificate whose making is killed and goes on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability.kills import KILLS, Subject, killed
from benchmarks.reliability.record import Finding

TITLE = "SIGKILL of klrl certify"
ABOUT = """`klrl certify` is killed at random moments and begun again by the same command, until the
certificate is there. It must be that of an undisturbed run to the bit. The table is saved after each prompt
here, in place of every 20 seconds, so that kills fall between and into its writing."""

PROMPTS, SAMPLES, HORIZON = 6, 500, 8
MAIN = """
import klrl_envs.optima.certify as certify
from klrl_envs.cli.app import main
certify.SAVE_SECONDS = 0.0
main()
"""
NAME = "certificate.safetensors"


def subject(prompts: int = PROMPTS, samples: int = SAMPLES, horizon: int = HORIZON) -> Subject:
    """The command."""

    def command(folder: Path) -> list[str]:
        return [
            sys.executable, "-c", MAIN, "certify", "Sentiment", "--horizon", str(horizon),
            "--samples", str(samples), "--first-prompts", str(prompts), "--out", str(folder / NAME),
        ]  # fmt: skip

    return Subject(command, lambda folder: (folder / NAME).exists())


def judged(whole: Path, lives: Sequence[Path], kills: int) -> list[Finding]:
    """The certificates of killed runs against the one that was left alone."""
    wanted = (whole / NAME).read_bytes()
    same = sum((life / NAME).read_bytes() == wanted for life in lives)
    partial = sum(len(list(life.glob("*.partial"))) for life in lives)
    return [
        Finding(
            what=f"{kills} kills, {len(lives)} certificates of {len(wanted):,} bytes",
            seen=f"{same} the same file, {partial} unfinished tables left",
            limit="all, to the bit; none left",
            holds=same == len(lives) and not partial,
        )
    ]


def measure(kills: int = KILLS) -> list[Finding]:
    """Kill it, and compare."""
    with tempfile.TemporaryDirectory() as name:
        whole, lives = killed(subject(), Path(name), kills, seed=2)
        return judged(whole, lives, kills)
