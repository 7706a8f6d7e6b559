"""The house: which part may import which, and what the wheel holds."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module may import modules of its own rank and of lower ones; the longest prefix counts.
RANKS = {
    "klrl_envs.kl": 0,
    "klrl_envs.assets": 0,
    "klrl_envs.reference": 1,
    "klrl_envs.reference.sampling": 1,
    "klrl_envs.tasks": 2,
    "klrl_envs.registry": 2,
    "klrl_envs.envs.engine": 3,
    "klrl_envs.envs.observation": 4,
    "klrl_envs.envs.rendering": 4,
    "klrl_envs.envs.token_env": 4,
    "klrl_envs.envs.vector_env": 4,
    "klrl_envs.wrappers": 5,
    "klrl_envs.optima": 5,
    "klrl_envs.envs.exact": 5,
    "klrl_envs.evaluation.rollout": 5,
    "klrl_envs.evaluation.evaluate": 5,
    "klrl_envs.evaluation.estimators": 5,
    "klrl_envs.evaluation.comparison": 5,
    "klrl_envs.policies": 5,
    "klrl_envs.evaluation.rejection": 5,
    "klrl_envs.integrations": 6,
    "klrl_envs.commands": 6,
    "klrl_envs.cli.app": 6,
    "klrl_envs.assets.build": 7,
    "klrl_envs": 8,  # the public names
}

# Folder -> the first-party packages that it may import.
ALLOWED_OUTSIDE = {
    "agents": {"agents", "klrl_envs"},
    "benchmarks": {"benchmarks", "klrl_envs", "leaderboard"},
    "leaderboard": {"leaderboard", "klrl_envs"},
    "klrl_envs": {"klrl_envs"},
}
FIRST_PARTY = set(ALLOWED_OUTSIDE)


def module_name(path: Path) -> str:
    """The dotted name of a file of the checkout."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every first-party module that a file imports anywhere, lazily too, but for annotations alone."""
    module = module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                # `from package import module` means the module where there is one.
                inner = ROOT.joinpath(*base.split("."), alias.name)
                is_module = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
                found.add(f"{base}.{alias.name}" if is_module else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return {name for name in found if name.split(".")[0] in FIRST_PARTY}


def rank_of(module: str) -> int:
    """The rank of the longest known prefix of a module of `klrl_envs`."""
    name = module
    while name not in RANKS or (name == "klrl_envs" and module != "klrl_envs"):
        name = name.rpartition(".")[0]
        assert name, f"{module} has no place in the order of dependency: add it to RANKS in {__file__}"
    return RANKS[name]


def sources(folder: str) -> list[Path]:
    """The Python files under a top-level folder."""
    return sorted((ROOT / folder).rglob("*.py"))


def test_dependencies_run_one_way():
    wrong = []
    for path in sources("klrl_envs"):
        module = module_name(path)
        for imported in sorted(imports_of(path)):
            if imported.split(".")[0] == "klrl_envs" and rank_of(imported) > rank_of(module):
                wrong.append(f"{module} imports {imported}")
    assert not wrong, "imports against the order of dependency:\n" + "\n".join(wrong)


@pytest.mark.parametrize("folder", sorted(ALLOWED_OUTSIDE))
def test_packages_keep_apart(folder: str):
    wrong = [
        f"{module_name(path)} imports {imported}"
        for path in sources(folder)
        for imported in sorted(imports_of(path))
        if imported.split(".")[0] not in ALLOWED_OUTSIDE[folder]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "klrl_envs" / "tasks"
    package.mkdir(parents=True)
    (tmp_path / "klrl_envs" / "engine.py").write_text("")
    (package / "lazy.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import klrl_envs.cli.app\n"
        "def late():\n    from .. import engine\n    from ..evaluation import evaluate\n"
        "    import agents.ppo\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    seen = imports_of(package / "lazy.py")
    assert seen == {"klrl_envs.envs.engine", "klrl_envs.evaluation.evaluate", "agents.ppo"}


def test_outside_packages_have_an_empty_init():
    for folder in ("agents", "benchmarks", "leaderboard"):
        init = ROOT / folder / "__init__.py"
        assert init.exists() and init.read_text() == "", f"{init} must be there and empty"


def test_no_console_script_points_outside():
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2].partition("\n[")[0]
    targets = re.findall(r'^\w+ = "([\w.]+):\w+"$', scripts, re.M)
    assert targets and all(target.split(".")[0] == "klrl_envs" for target in targets)
    for target in targets:
        assert (ROOT / Path(*target.split("."))).with_suffix(".py").exists()


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


def test_wheel_holds_klrl_envs_alone(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        size = sum(info.compress_size for info in archive.infolist() if "/assets/" in info.filename)
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"klrl_envs"}
    assert "klrl_envs/py.typed" in names
    assets = {f"klrl_envs/{path.relative_to(ROOT / 'klrl_envs').as_posix()}" for path in tracked_assets()}
    assert assets <= set(names), f"assets that the wheel lacks: {sorted(assets - set(names))}"
    assert size < 25e6, f"the assets are {size / 1e6:.1f} MB in the wheel; 25 are allowed"


def tracked_assets() -> list[Path]:
    """The files under `klrl_envs/assets`, without caches."""
    return [
        path
        for path in (ROOT / "klrl_envs" / "assets").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def test_wheel_installs_and_works_from_elsewhere(wheel: Path, tmp_path: Path):
    # --system-site-packages of a venv made inside a venv does not see the outer venv: a .pth does.
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = next(path for path in (venv / "bin/python", venv / "Scripts/python.exe") if path.exists())
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", script], capture_output=True, text=True).stdout.strip())
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    installed = subprocess.run(install, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    top = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert top - {"__pycache__", "_virtualenv.py"} == {"klrl_envs"}

    # These come after the venv's own folder and their .pth files do not run: no editable klrl_envs is seen.
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "outer.pth").write_text("\n".join(outer) + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = (
        "import gymnasium, klrl_envs\n"
        "env = gymnasium.make('klrl/GridNavigation-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "print(klrl_envs.__file__)\n"
    )
    ran = subprocess.run([python, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).resolve().is_relative_to(venv.resolve()), ran.stdout


def test_the_code_in_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        ran = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "Optimum(" in ran.stdout
