"""A training that is killed and goes on by ``--resume``."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reliability.determinism import digest_of_training
from benchmarks.reliability.kills import KILLS, Subject, killed
from benchmarks.reliability.record import Finding, module
from klrl_envs.ledger import VARIABLE, read_ledger
from klrl_envs.results.record import RunRecord

TITLE = "SIGKILL of a training"
ABOUT = """`python -m agents.reinforce --resume` is killed at random moments, from its start to its end, and
begun again by the same command. Weights, numbers and lines must be those of a training that was left alone,
to the bit. What a killed process has written is written again, so that more tokens count than in the
undisturbed one: never fewer than a ledger of all processes has. With one ledger the numbers are equal.
Where each process has a ledger of its own, of which the next knows nothing, the training must count itself
at least as high."""

ENV_ID = "klrl/GridNavigation-v0"
TOKENS = 100_000


def subject(*, shared: bool, tokens: int = TOKENS) -> Subject:
    """The training, with one ledger of all its processes or one of each."""

    def command(folder: Path) -> list[str]:
        return module(
            "agents.reinforce", "--env-id", ENV_ID, "--tokens", str(tokens), "--episodes", "64",
            "--evaluation-seed", "1", "--threads", "1", "--device", "cpu", "--checkpoint-seconds", "0.1",
            "--resume", "--out", str(folder / "out"),
        )  # fmt: skip

    def environment(folder: Path) -> dict[str, str]:
        number = "" if shared else f"-{len(list(folder.glob('ledger*')))}"
        path = folder / f"ledger{number}.jsonl"
        path.touch()
        return {VARIABLE: str(path)}

    def finished(folder: Path) -> bool:
        out = folder / "out"
        return (out / "result.json").exists() and not (out / "checkpoint.safetensors").exists()

    return Subject(command, finished, environment)


def digest(folder: Path) -> str:
    """The SHA-256 of all that a training leaves, but the clock."""
    out = folder / "out"
    episodes = hashlib.sha256((out / "episodes.jsonl").read_bytes()).hexdigest()
    return digest_of_training(out) + episodes


def counted(folder: Path) -> tuple[int, int]:
    """Tokens that a record states, and those that the ledgers of all its processes have."""
    stated = RunRecord.load(folder / "out" / "result.json").tokens
    return stated, sum(read_ledger(path).tokens for path in folder.glob("ledger*"))


def judged(whole: Path, lives: Sequence[Path], kills: int, *, shared: bool) -> list[Finding]:
    """What the killed trainings have left against the one that was not."""
    same = sum(digest(life) == digest(whole) for life in lives)
    counts = [counted(life) for life in lives]
    if shared:
        right = sum(stated == truth for stated, truth in counts)
    else:
        right = sum(stated >= truth for stated, truth in counts)
    kind, limit = ("one ledger", "as many as") if shared else ("a ledger a process", "at least as many as")
    shown = ", ".join(f"{stated:,} of {truth:,}" for stated, truth in counts)
    return [
        Finding(
            what=f"{kind}: {kills} kills in {len(lives)} trainings",
            seen=f"{same} of {len(lives)} end as the undisturbed one",
            limit="all, to the bit",
            holds=same == len(lives),
        ),
        Finding(
            what=f"{kind}: tokens that records state, of those written",
            seen=shown,
            limit=f"{limit} were written",
            holds=right == len(lives),
        ),
    ]


def measure(kills: int = KILLS, tokens: int = TOKENS) -> list[Finding]:
    """Half of the kills with one ledger, half with one of each process."""
    findings: list[Finding] = []
    for seed, shared in enumerate((True, False)):
        with tempfile.TemporaryDirectory() as name:
            share = kills - kills // 2 if shared else kills // 2
            whole, lives = killed(subject(shared=shared, tokens=tokens), Path(name), share, seed)
            findings += judged(whole, lives, share, shared=shared)
    return findings
