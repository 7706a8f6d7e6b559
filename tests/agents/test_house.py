"""The agents stand where an outside agent stands: they know ``klrl_envs`` by its public names alone."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import klrl_envs

AGENTS = Path(__file__).resolve().parents[2] / "agents"
PUBLIC_MODULES = {
    "klrl_envs.kl",
    "klrl_envs.envs.drawing",
    "klrl_envs.evaluation.seeds",
    "klrl_envs.networks.causal_folder",
    "klrl_envs.networks.evidence",
    "klrl_envs.networks.half_precision",
    "klrl_envs.networks.hidden_state",
    "klrl_envs.networks.language_model",
    "klrl_envs.networks.perceptron",
    "klrl_envs.networks.q_values",
    "klrl_envs.networks.raw_tokens",
    "klrl_envs.networks.residual",
    "klrl_envs.networks.state_table",
    "klrl_envs.networks.table",
    "klrl_envs.networks.text_heads",
    "klrl_envs.networks.word_heads",
    "klrl_envs.networks.words",
    "klrl_envs.optima.terminal_law",
    "klrl_envs.policies",
    "klrl_envs.reference.decoder",
    "klrl_envs.reference.device",
    "klrl_envs.reference.draws",
    "klrl_envs.reference.nano",
    "klrl_envs.wrappers",
    "klrl_envs.integrations.sb3",
}
FILES = [pytest.param(path, id=str(path.relative_to(AGENTS))) for path in sorted(AGENTS.rglob("*.py"))]


def imports_of(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Every import anywhere: module and name, or module and None where it is imported whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}", alias.name) for alias in node.names)


def is_public(module: str, name: str | None) -> bool:
    """Whether an import from ``klrl_envs`` is of its facade, or of what a public module lists."""
    if module == "klrl_envs":
        return name is None or name in klrl_envs.__all__
    if name is None or module not in PUBLIC_MODULES:
        return False
    listed = getattr(importlib.import_module(module), "__all__", None)
    return name in listed if listed is not None else not name.startswith("_")


def not_public(source: str) -> list[str]:
    """What source code takes from ``klrl_envs`` that is not public."""
    tree = ast.parse(source)
    ours = [(module, name) for module, name in imports_of(tree) if module.split(".")[0] == "klrl_envs"]
    wrong = [f"{module}: {name}" for module, name in ours if not is_public(module, name)]
    used = [node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "klrl_envs"]  # fmt: skip
    return wrong + [name for name in used if name not in (*klrl_envs.__all__, "__version__")]


@pytest.mark.parametrize("path", FILES)
def test_agents_import_public_names_only(path: Path) -> None:
    assert not_public(path.read_text(encoding="utf-8")) == []


def test_what_is_not_public_is_seen() -> None:
    for line in (
        "import klrl_envs.envs.engine",
        "from klrl_envs.tasks.base import Task",
        "from klrl_envs import registry",
        "from klrl_envs.wrappers import recorder",
        "from klrl_envs.policies import _hidden",
        "import klrl_envs\nklrl_envs.registry.all_rows()",
        "def late():\n    from klrl_envs.envs.engine import Engine",
    ):
        assert not_public(line), line
    assert not_public("from klrl_envs import Engine\nfrom klrl_envs.wrappers import VectorStateIndex") == []


@pytest.mark.parametrize("path", FILES)
def test_a_task_is_asked_whether_it_is_exact(path: Path) -> None:
    """Not its class: ``task.exact`` is the answer, for whatever kinds of task there will be."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            assert not kinds & {"AutomatonTask", "TextTask"}, ast.unparse(node)


def test_algorithms_do_not_import_each_other() -> None:
    """One algorithm is one file, and ``networks`` know no algorithm; the demonstration is of PPO."""
    shared = ("agents.arguments", "agents.checkpoints", "agents.exploration", "agents.run", "agents.networks")
    for path in sorted(AGENTS.rglob("*.py")):
        allowed = (*shared, "agents.ppo") if path.name == "demo.py" else shared
        if path.parent.name == "networks":
            allowed = ("agents.networks",)
        for module, _ in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            assert not module.startswith("agents") or module.startswith(allowed), f"{path.name}: {module}"


def test_the_example_to_copy_needs_no_other_file() -> None:
    tree = ast.parse((AGENTS / "minimal.py").read_text(encoding="utf-8"))
    modules = {module.split(".")[0] for module, _ in imports_of(tree)}
    standard = {"__future__", "argparse", "dataclasses", "typing"}
    assert modules <= standard | {"gymnasium", "numpy", "torch", "klrl_envs"}
    whole = {name for module, name in imports_of(tree) if module.startswith("klrl_envs")}
    assert whole == {None}, "nothing but `import klrl_envs`"
