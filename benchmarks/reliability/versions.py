"""The wheel in fresh environments: the oldest and the newest Python and libraries that are declared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability.record import ROOT, Finding, not_run

TITLE = "The oldest and the newest versions"
ABOUT = """A wheel is built from what is committed, and installed by uv in a fresh virtual environment: on
the oldest Python that `pyproject.toml` declares with the oldest libraries that it allows and that resolve,
and on the newest with the newest. There every id is made, reset and stepped, single and as a vector, every
task is solved and pi0 evaluated on it, and `klrl list`, `klrl show` and `klrl solve` answer. Pythons are
looked for on the PATH by their names, such as `python3.11`. The workflow `tests` asks the same."""

SMOKE = Path(__file__).with_name("smoke.py")
COMMANDS = (("list",), ("show", "keywords"), ("solve", "keywords"))
LIMIT = "it installs, and all answers"
PYTHON = "Programming Language :: Python :: 3."


@dataclass(frozen=True)
class Setting:
    """A Python, and which of the versions that fit it are taken."""

    python: str
    resolution: str
    told: str


def project() -> dict[str, Any]:
    """What `pyproject.toml` says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def settings() -> tuple[Setting, Setting]:
    """The oldest and the newest, as declared."""
    declared = project()
    minors = [int(line.removeprefix(PYTHON)) for line in declared["classifiers"] if line.startswith(PYTHON)]
    oldest = re.fullmatch(r">=3\.(\d+)", declared["requires-python"])
    if oldest is None or int(oldest[1]) != min(minors):
        raise ValueError(f"requires-python must be the oldest of the classifiers, 3.{min(minors)}")
    return (
        Setting(f"3.{min(minors)}", "lowest-direct", "oldest"),
        Setting(f"3.{max(minors)}", "highest", "newest"),
    )


def run(words: Sequence[str | Path], folder: Path) -> str:
    """What a command prints, in a folder that holds no checkout.

    Raises:
        RuntimeError: it fails, with the end of what it said.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        said = " ".join((ran.stderr or ran.stdout).split())
        raise RuntimeError(f"{Path(words[0]).name} {words[1]}: {said[-600:]}")
    return ran.stdout


def built(uv: str, folder: Path) -> Path:
    """The wheel of what is committed; a checkout's own build folder would leak into it."""
    source = folder / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x"], cwd=source, input=archive.stdout, check=True)
    run([uv, "build", "--quiet", "--wheel", "--out-dir", folder, source], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(setting: Setting, uv: str, python: str, wheel: Path, folder: Path) -> Path:
    """The folder of the programs of a fresh environment that has the wheel."""
    venv, pins = folder / setting.told, folder / f"{setting.told}.txt"
    run([uv, "venv", "--quiet", "--python", python, venv], folder)
    binary = next(path for path in (venv / "bin", venv / "Scripts") if path.is_dir())
    pip = [uv, "pip"]
    more = ["--quiet", "--python", str(binary / "python")]
    resolve = ["compile", ROOT / "pyproject.toml", "--resolution", setting.resolution, "--output-file", pins]
    run([*pip, *resolve, *more], folder)
    run([*pip, "install", *more, "-r", pins], folder)
    run([*pip, "install", *more, "--no-deps", wheel], folder)
    return binary


def asked(setting: Setting, binary: Path, folder: Path) -> Finding:
    """What an installed wheel answers."""
    found = json.loads(run([binary / "python", "-I", SMOKE], folder))
    for words in COMMANDS:
        run([binary / "klrl", *words], folder)
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    return Finding(
        what=f"{setting.told}: Python {setting.python}",
        seen=f"Python {found['python']}, {found['ids']} ids and {len(COMMANDS)} commands answer "
        f"({libraries})",
        limit=LIMIT,
        holds=found["python"].startswith(f"{setting.python}."),
    )


def judged(setting: Setting, uv: str, python: str, wheel: Path, folder: Path) -> Finding:
    """Install and ask; what fails is what was seen."""
    try:
        return asked(setting, installed(setting, uv, python, wheel, folder), folder)
    except RuntimeError as error:
        what = f"{setting.told}: Python {setting.python}"
        return Finding(what=what, seen=str(error), limit=LIMIT, holds=False)


def measure(chosen: Sequence[Setting] | None = None) -> list[Finding]:
    """Both, where their Pythons are there."""
    findings: list[Finding] = []
    uv = shutil.which("uv")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(uv, folder) if uv else None
        for setting in chosen or settings():
            python = shutil.which(f"python{setting.python}")
            what = f"{setting.told}: Python {setting.python}"
            if uv is None or wheel is None:
                findings.append(not_run(what, "uv is not installed", LIMIT))
            elif python is None:
                findings.append(not_run(what, f"there is no python{setting.python} on the PATH", LIMIT))
            else:
                findings.append(judged(setting, uv, python, wheel, folder))
    return findings
