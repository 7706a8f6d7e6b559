"""A disk that is full: what is written is whole or absent, the error says so, and with space it goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import killed_certify, killed_runner, killed_training
from benchmarks.reliability.kills import Subject
from benchmarks.reliability.record import ROOT, Finding, as_json, module, not_run
from klrl_envs.ledger import read_ledger
from klrl_envs.results.entry import load_entries

TITLE = "A full disk"
ABOUT = """A command runs in a small file system of its own (a tmpfs), which has space for a share of what
the command leaves where it is left alone: 0 to 120 %. When it has failed, every file that is there must be
whole: results, stamps, entries, ledgers, checkpoints, weights, certificates, each line of progress and
episodes, and nothing unfinished beside them. What it said must hold the system's words, "No space left on
device". Then the disk gets space, the same command runs again, and must end as the undisturbed one."""

SHARES = (0.0, 0.2, 0.6, 1.2)
PAGE = 4096
SPARE = 4 << 20
"""Bytes of the file system beyond what a command leaves."""
SAID = os.strerror(errno.ENOSPC)
FILLER = "filler"
KINDS = {
    "a benchmark": (killed_runner.subject(), killed_runner.numbers),
    "a training": (killed_training.subject(shared=True, tokens=10_000), killed_training.digest),
    "a certificate": (
        killed_certify.subject(prompts=3, horizon=4),
        lambda folder: (folder / killed_certify.NAME).read_bytes(),
    ),
}
"""A command, and what of its life has to be that of an undisturbed one."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command on a full disk.

    Attributes:
        failed: it ended with an error.
        clear: it said what the system says of a full disk.
        torn: files that were not whole then.
        same: with space again it ended as the undisturbed one.
    """

    failed: bool
    clear: bool
    torn: tuple[str, ...]
    same: bool


def fill(folder: Path, free: int) -> None:
    """Fill a file system, but for so many bytes."""
    usage = shutil.disk_usage(folder)
    kept = max(usage.free - (free + PAGE - 1) // PAGE * PAGE, 0)
    with (folder / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(kept, 1))


def torn(folder: Path) -> list[str]:
    """The files in a folder that are not whole."""
    return [path.name for path in folder.rglob("*") if path.is_file() and not is_whole(path)]


def is_whole(path: Path) -> bool:
    """Whether a file can be read as what its name says."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".tmp" or (path.suffix == ".partial" and "checkpoint" in path.name):
            return False
        if path.name.startswith("ledger"):
            read_ledger(path)
        elif path.suffix == ".jsonl":
            text = path.read_text(encoding="utf-8")
            return text[-1:] in ("", "\n") and all(json.loads(line) is not None for line in text.splitlines())
        elif path.suffix == ".json" and path.parent.name == "entries":
            load_entries(path.parent)
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix in (".safetensors", ".partial"):
            with safe_open(path, "numpy") as file:
                _ = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    except (ValueError, SafetensorError):
        return False
    return True


def outcome(subject: Subject, life: Path, same: Callable[[Path], bool], free: int) -> Outcome:
    """Run a command in a file system that is full but for some bytes, and again with space."""
    fill(life, free)
    code = subject.start(life).wait()
    said = (life.parent / f"{life.name}.log").read_text(encoding="utf-8", errors="replace")
    damage = torn(life)
    (life / FILLER).unlink()
    if code or not subject.finished(life):
        subject.to_its_end(life)
    return Outcome(bool(code), SAID in said, tuple(damage), same(life))


def judged(what: str, outcomes: Sequence[Outcome]) -> Finding:
    """What came of all shares."""
    failed = [each for each in outcomes if each.failed]
    clear = sum(each.clear for each in failed)
    damage = sorted({name for each in outcomes for name in each.torn})
    same = sum(each.same for each in outcomes)
    return Finding(
        what=f"{what}, {len(outcomes)} disks",
        seen=f"{len(failed)} failed, {clear} of them said why; torn: {', '.join(damage) or 'none'}; "
        f"{same} went on to the same end",
        limit=f"at least 1, all of them; none; {len(outcomes)}",
        holds=bool(failed) and clear == len(failed) and not damage and same == len(outcomes),
    )


def inside(folder: Path, what: str, shares: Sequence[float]) -> Finding:
    """A finding, from within a mount namespace, where file systems can be made."""
    subject, end_of = KINDS[what]
    subject.to_its_end(folder / "whole")
    wanted = end_of(folder / "whole")
    needed = sum(path.stat().st_blocks * 512 for path in (folder / "whole").rglob("*"))
    outcomes: list[Outcome] = []
    for share in shares:
        life = folder / f"life-{share:g}"
        life.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={2 * needed + SPARE}", "tmpfs", str(life)]
        subprocess.run(mount, check=True)
        outcomes.append(outcome(subject, life, lambda folder: end_of(folder) == wanted, int(share * needed)))
        subprocess.run(["umount", str(life)], check=True)
    return judged(what, outcomes)


def namespace() -> list[str] | None:
    """What starts a command where it may make file systems; None where the system does not let it."""
    words = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        tried = subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", name], capture_output=True)
    return words if tried.returncode == 0 else None


def measure(whats: Sequence[str] = tuple(KINDS), shares: Sequence[float] = SHARES) -> list[Finding]:
    """Each command on all disks."""
    words, findings = namespace(), list[Finding]()
    for what in whats:
        if words is None:
            findings.append(not_run(what, "no file system can be made here", "whole or absent"))
            continue
        with tempfile.TemporaryDirectory() as name:
            command = [*words, *module(__name__, name, what, *map(str, shares))]
            ran = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        findings.append(Finding.model_validate_json(ran.stdout))
    return findings


if __name__ == "__main__":
    found = inside(Path(sys.argv[1]), sys.argv[2], [float(share) for share in sys.argv[3:]])
    print(as_json(found.model_dump()))
