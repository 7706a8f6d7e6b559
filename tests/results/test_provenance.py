"""Where a run came from."""

import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.results.provenance import commit, hardware, versions


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(["git", *names, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with code and results."""
    for name in ("code", "results"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_the_commit_says_where_the_code_has_changed(checkout: Path):
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout) == commit(checkout / "code") == head
    (checkout / "results" / "file").write_text("two")
    assert commit(checkout) == f"{head}-dirty"
    assert commit(checkout, ["code"]) == head, "results are no code"
    (checkout / "code" / "new").write_text("one")
    assert commit(checkout, ["code"]) == f"{head}-dirty"


def test_outside_a_checkout_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert commit(tmp_path) == commit(tmp_path / "none") == "unknown"
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) == "unknown"


def test_what_is_not_loaded_has_no_version():
    found = versions()
    assert found.python == sys.version.split()[0]
    for name, module in (("torch", "torch"), ("stable_baselines3", "stable_baselines3")):
        assert (getattr(found, name) is not None) == (module in sys.modules)


def test_a_processor_without_accelerator_has_no_gpu():
    assert hardware("cpu").gpu is None and hardware("cpu").cpu
