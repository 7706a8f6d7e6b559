"""What the files of the checkout import of each other, read from their source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("klrl_envs", "agents", "benchmarks", "leaderboard", "examples", "docs")


def module_name(path: Path, root: Path = ROOT) -> str:
    """The dotted name of a file of the checkout."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder: str, root: Path = ROOT) -> list[Path]:
    """The Python files under a top-level folder."""
    return sorted((root / folder).rglob("*.py"))


def imports_of(path: Path, root: Path = ROOT) -> set[str]:
    """Every first-party module that a file imports anywhere, lazily too, but for annotations alone."""
    module = module_name(path, root)
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
            found.update(imported_from(node, package, root))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return {name for name in found if name.split(".")[0] in FOLDERS}


def imported_from(node: ast.ImportFrom, package: str, root: Path) -> set[str]:
    """The modules of a ``from`` import; a name that is a module of the package means that module."""
    base = node.module or ""
    if node.level:
        above = package.split(".")
        base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
    found: set[str] = set()
    for alias in node.names:
        inner = root.joinpath(*base.split("."), alias.name)
        is_module = inner.with_suffix(".py").exists() or (inner / "__init__.py").exists()
        found.add(f"{base}.{alias.name}" if is_module else base)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that reach each other, of an import graph (Tarjan's components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph.get(module, ())):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            place = stack.index(module)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1 or module in graph.get(module, ()):
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in order:
            visit(module)
    return found
