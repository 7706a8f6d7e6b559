"""The reference of the library: the public names, by the room that they come from, and the public modules."""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import klrl_envs
from docs.generator.files import DOCS, keep_only, write
from klrl_envs import integrations

TITLES = {
    "envs": "Environments",
    "tasks": "Tasks",
    "registry": "The registry",
    "optima": "Optima",
    "evaluation": "Evaluation",
    "networks": "Policies as files",
    "reference": "References",
    "reward": "Rewards",
    "results": "Records of runs",
    "integrations": "Integrations",
}
"""Title of the names of each room, in the order of the table of contents."""
OPTIONS = {
    "class": "   :members:\n",
    "module": "   :members:\n",
    "data": "   :no-value:\n",
    "function": "",
}


def write_reference(docs: Path = DOCS) -> set[Path]:
    """Write a page for each room and each public module, and their contents."""
    rooms, modules = public_names()
    folder = docs / "api"
    written = {
        write(folder / f"{room}.md", page(title, [directive(f"klrl_envs.{name}") for name in rooms[room]]))
        for room, title in TITLES.items()
        if room in rooms
    }
    written |= {write(folder / f"{name}.md", page(f"`{name}`", [directive(name)])) for name in modules}
    names = [*(room for room in TITLES if room in rooms), *modules]
    contents = "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```"
    about = (
        "`import klrl_envs` loads nothing heavy: each name below comes in when it is first used. What is not "
        "listed here may change without notice."
    )
    written.add(write(folder / "index.md", f"# API reference\n\n{about}\n\n{contents}\n"))
    keep_only(folder, written)
    return written


def public_names() -> tuple[dict[str, list[str]], list[str]]:
    """The names of the facade by room, and the public modules by their full names."""
    rooms: dict[str, list[str]] = defaultdict(list)
    listed = [f"{integrations.__name__}.{name}" for name in integrations.__all__]
    modules = [name for name in listed if is_installed(name)]
    for name in sorted(klrl_envs.__all__):
        value = getattr(klrl_envs, name)
        if isinstance(value, ModuleType):
            if value is not integrations:
                modules.append(value.__name__)
        else:
            rooms[room_of(value)].append(name)
    return rooms, sorted(modules)


def is_installed(integration: str) -> bool:
    """Whether the library of an integration is here: without it there is nothing to read, and no page."""
    try:
        importlib.import_module(integration)
    except ImportError:
        return False
    return True


def room_of(value: object) -> str:
    """The package, or file, of ``klrl_envs`` that a public object is of; data are the registry's."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__module__.split(".")[1]
    return "registry"


def directive(name: str) -> str:
    """What documents an object."""
    owner, _, own = name.rpartition(".")
    value = getattr(klrl_envs, own, None) if owner == "klrl_envs" else None
    if inspect.isclass(value):
        kind = "class"
    elif inspect.isfunction(value):
        kind = "function"
    else:
        kind = "module" if value is None or isinstance(value, ModuleType) else "data"
    return f".. auto{kind}:: {name}\n{OPTIONS[kind]}{imported(name) if kind == 'module' else ''}"


def imported(name: str) -> str:
    """The options of a module that lists names of others: all, but for classes that the facade has."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", None)
    if listed is None:
        return ""
    known = [each for each in listed if each in klrl_envs.__all__ and inspect.isclass(getattr(module, each))]
    return "   :imported-members:\n" + (f"   :exclude-members: {', '.join(known)}\n" if known else "")


def page(title: str, directives: list[str]) -> str:
    """A page of directives."""
    body = "\n".join(directives)
    return f"# {title}\n\n```{{eval-rst}}\n{body}```\n"
