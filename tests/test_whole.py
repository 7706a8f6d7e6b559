"""Files that are whole or not there: on a full disk, and where processes write beside each other."""

from __future__ import annotations

import errno
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.whole import append_whole, write_whole

FULL = """
import resource, sys
from pathlib import Path
from klrl_envs.whole import append_whole, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
{call}
"""
"""A process for which the disk is full after 1,000 bytes of a file."""


def error_of(call: str) -> str:
    """The last line of what a call says that fails on a full disk."""
    ran = subprocess.run([sys.executable, "-c", FULL.format(call=call)], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    said = error_of(f"write_whole(Path({str(path)!r}), b'x' * 5_000)")
    assert "could not be written: File too large" in said and str(path) in said
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("there", [900, 1_000])
def test_a_full_disk_tears_no_line(there: int, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_whole(path, b"x" * there)  # of the next 200 bytes the system takes 100, and says so, or none
    said = error_of(f"append_whole({str(path)!r}, b'y' * 200)")
    assert "could not be written: " in said and str(path) in said
    assert path.read_bytes() == b"x" * there
    append_whole(path, b"z")
    assert path.read_bytes() == b"x" * there + b"z"


def test_a_file_is_replaced_with_the_rights_of_a_new_one(tmp_path: Path) -> None:
    for path in (tmp_path / "whole", tmp_path / "plain"):
        write_whole(path, b"one") if path.name == "whole" else path.write_bytes(b"one")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def append_many(path: Path, letter: str) -> None:
    for _ in range(50):
        append_whole(path, letter.encode() * 5_000 + b"\n")


def replace_many(path: Path, letter: str) -> None:
    for _ in range(50):
        write_whole(path, letter.encode() * 50_000)


def test_processes_that_write_at_once_tear_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    lines, whole = tmp_path / "lines", tmp_path / "whole"
    jobs = [(append_many, lines, letter) for letter in "ab"] + [(replace_many, whole, each) for each in "cd"]
    children = [spawn.Process(target=job, args=(path, letter)) for job, path, letter in jobs]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert sorted(lines.read_text().split()) == ["a" * 5_000] * 50 + ["b" * 5_000] * 50
    assert whole.read_text() in ("c" * 50_000, "d" * 50_000)
    assert {path.name for path in tmp_path.iterdir()} == {"lines", "whole"}


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refused(code: int) -> None:
        def flock(*_: object) -> None:
            raise OSError(code, "refused")

        monkeypatch.setattr(fcntl, "flock", flock)

    refused(errno.ENOSYS)
    append_whole(tmp_path / "lines", b"one\n")
    assert (tmp_path / "lines").read_bytes() == b"one\n"
    refused(errno.EIO)
    with pytest.raises(OSError, match="refused"):
        append_whole(tmp_path / "lines", b"two\n")
