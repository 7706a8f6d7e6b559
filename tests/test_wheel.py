"""The wheel: what it holds, and that it works where nothing else of the checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from klrl_envs.results.entry import load_entries
from leaderboard.build import verify
from tests.imports import ROOT
from tests.readme import own_agent

pytestmark = pytest.mark.slow

TRAINING = """
from stable_baselines3 import PPO
import klrl_envs
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy

env = SB3VecEnv("klrl/GridNavigationFeatures-v0", num_envs=8)
model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, gamma=1.0, normalize_advantage=False, seed=0)
model.learn(256, callback=KLCallback())
print(klrl_envs.evaluate(SB3Policy(model), "klrl/GridNavigationFeatures-v0", episodes=64).env_id)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy, as a checkout's own `build/` folder would leak into it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build_work", ".venv", "runs", ".git")
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("klrl_envs", "agents", "benchmarks", "leaderboard", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*command, "-w", folder, source], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and beside it what this one has installed."""
    # --system-site-packages of a venv made inside a venv does not see the outer venv: a .pth does.
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    found = next(path for path in (venv / "bin/python", venv / "Scripts/python.exe") if path.exists())
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([found, "-c", script], capture_output=True, text=True).stdout.strip())
    install = [sys.executable, "-m", "pip", "--python", found, "install", "--no-deps", "--no-index", wheel]
    installed = subprocess.run(install, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    top = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert top - {"__pycache__", "_virtualenv.py"} == {"klrl_envs"}
    # These come after the venv's own folder and their .pth files do not run: no editable klrl_envs is seen.
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "outer.pth").write_text("\n".join(outer) + "\n")
    return found


def run(python: Path, *words: str | Path, cwd: Path) -> str:
    """What a command prints, run by that Python, in a folder without a checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run([python, *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_wheel_holds_klrl_envs_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        size = sum(info.compress_size for info in archive.infolist() if "/assets/" in info.filename)
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"klrl_envs"}
    assert "klrl_envs/py.typed" in names
    assert not [name for name in names if name.startswith("klrl_envs/assets/build")]
    assets = {f"klrl_envs/{path.relative_to(ROOT / 'klrl_envs').as_posix()}" for path in shipped_assets()}
    assert assets <= set(names), f"assets that the wheel lacks: {sorted(assets - set(names))}"
    assert size < 40e6, f"the assets are {size / 1e6:.1f} MB in the wheel; 40 are allowed"


def shipped_assets() -> list[Path]:
    """The files under `klrl_envs/assets`, without caches and without what builds them."""
    return [
        path
        for path in (ROOT / "klrl_envs" / "assets").rglob("*")
        if path.is_file() and not {"__pycache__", "build"} & set(path.parts)
    ]


def test_the_wheel_is_what_is_imported(python: Path, tmp_path: Path) -> None:
    code = (
        "import gymnasium, klrl_envs\n"
        "env = gymnasium.make('klrl/GridNavigation-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "print(klrl_envs.__file__)\n"
    )
    seen = Path(run(python, "-c", code, cwd=tmp_path).strip())
    assert seen.resolve().is_relative_to(python.parents[1].resolve()), seen


def test_the_command_lists_and_evaluates(python: Path, tmp_path: Path) -> None:
    klrl = python.with_name("klrl")
    assert "klrl/Keywords-v0" in run(python, klrl, "list", cwd=tmp_path)
    words = ("evaluate", "DiagnosticGold-v0", "--policy", "reference", "--episodes", "64", "--json")
    assert '"env_id": "klrl/DiagnosticGold-v0"' in run(python, klrl, *words, cwd=tmp_path)


def test_stable_baselines_trains(python: Path, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    assert run(python, "-c", TRAINING, cwd=tmp_path).strip() == "klrl/GridNavigation-v0"


def test_an_agent_of_ones_own_is_run_checked_and_reported_as_the_readme_says(
    python: Path, tmp_path: Path
) -> None:
    code, commands = own_agent()
    (tmp_path / "mine.py").write_text(code)
    names = {
        f"GIT_{who}_{what}": "someone@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {**names, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}
    said: dict[str, str] = {}
    for command in commands:
        ran = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        said[" ".join(command.split()[:2])] = ran.stdout
    assert set(said) >= {"git init", "klrl benchmark", "klrl check", "klrl report"}
    assert "would not take" not in said["klrl benchmark"] and "not final" in said["klrl benchmark"]
    assert said["klrl check"].count(": holds\n") == 9 and "does not" not in said["klrl check"]
    entries = load_entries(tmp_path / "runs" / "mine" / "entries")
    verify(entries)  # the leaderboard takes them
    assert len(entries) == 3 and all(entry.score is not None and entry.score > 0.3 for entry in entries)
    assert all(seed.budget == "counted" for entry in entries for seed in entry.seeds)
    page = (tmp_path / "runs" / "mine" / "report" / "report.md").read_text(encoding="utf-8")
    assert all(f"| {entry.env_id.removeprefix('klrl/')} | mine | 0, 1 |" in page for entry in entries)
