"""Records of packages and the questions about them, all answerable from the record.

Closed questions have one of a few answers (a section, a language, yes or no); open ones ask for a text. Where
several answers are right, any of them counts: of a program in C and C++, either language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from klrl_envs.assets.build.packages import Package

SHOWN_DEPENDENCIES = 4
LANGUAGES = {
    "ada": "Ada", "c": "C", "c++": "C++", "c-sharp": "C#", "ecmascript": "JavaScript", "fortran": "Fortran",
    "haskell": "Haskell", "java": "Java", "lisp": "Lisp", "lua": "Lua", "objc": "Objective-C",
    "ocaml": "OCaml", "pascal": "Pascal", "perl": "Perl", "php": "PHP", "python": "Python", "r": "R",
    "ruby": "Ruby", "scheme": "Scheme", "shell": "shell", "tcl": "Tcl", "vala": "Vala",
}  # fmt: skip
INTERFACES = {
    "commandline": "command line", "daemon": "daemon", "graphical": "graphical", "shell": "shell",
    "text-mode": "text", "web": "web",
}  # fmt: skip
ROLES = {
    "app-data": "data of an application", "data": "data", "devel-lib": "development library",
    "documentation": "documentation", "metapackage": "metapackage", "plugin": "plugin", "program": "program",
    "shared-lib": "shared library",
}  # fmt: skip

FIELDS = {
    "source": "\nSource: ",
    "section": "\nSection: ",
    "kind": "\nKind: ",
    "language": "\nWritten in: ",
    "interface": "\nInterface: ",
    "depends": "\nDepends: ",
    "homepage": "\nHomepage: ",
    "description": "\nDescription: ",
}
"""The marks before the fields of a record, in their order; the name stands before them all."""

Asked = tuple[str, tuple[str, ...]] | None
"""What stands for {it} in the question, and the right answers; None where the record has none."""

Ask = Callable[[Package, str, np.random.Generator], Asked]


@dataclass(frozen=True)
class Question:
    """A kind of question.

    Attributes:
        name: of the kind.
        closed: whether there are but a few answers.
        wordings: ways to ask it; {name} is the package's.
        ask: (package, the name of another package, a generator) -> what is asked and answered.
    """

    name: str
    closed: bool
    wordings: tuple[str, ...]
    ask: Ask


def values(package: Package, facet: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """What the debtags of a facet are called."""
    return tuple(names[tag] for tag in package.tags.get(facet, ()) if tag in names)


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def fields(package: Package) -> dict[str, str]:
    """The fields of a record but the description; those that are empty are left out."""
    found = {
        "source": package.source,
        "section": package.section,
        "kind": listed(values(package, "role", ROLES)),
        "language": listed(values(package, "implemented-in", LANGUAGES)),
        "interface": listed(values(package, "interface", INTERFACES)),
        "depends": listed(package.depends[:SHOWN_DEPENDENCIES]),
        "homepage": package.homepage,
    }
    return {name: value for name, value in found.items() if value}


def record(package: Package, description: str) -> str:
    """The record of a package with what there is room for of its description."""
    parts = {**fields(package), "description": description}
    return package.name + "".join(f"{FIELDS[name]}{value}" for name, value in parts.items())


def of_field(name: str) -> Ask:
    """A question for what stands in a field."""

    def ask(package: Package, other: str, rng: np.random.Generator) -> Asked:
        value = fields(package).get(name)
        return None if value is None else ("", (value,))

    return ask


def of_tags(facet: str, names: Mapping[str, str]) -> Ask:
    """A question for the debtags of a facet: all of them, or any."""

    def ask(package: Package, other: str, rng: np.random.Generator) -> Asked:
        found = values(package, facet, names)
        return ("", tuple(dict.fromkeys((listed(found), *found)))) if found else None

    return ask


def needs(package: Package, other: str, rng: np.random.Generator) -> Asked:
    """Whether it depends on one of those that it shows, or on another package, equally often."""
    shown = package.depends[:SHOWN_DEPENDENCIES]
    if not shown or (other in package.depends and other not in shown):
        return None
    it = other if rng.random() < 0.5 else shown[int(rng.integers(len(shown)))]
    return it, ("yes" if it in shown else "no",)


def count(package: Package, other: str, rng: np.random.Generator) -> Asked:
    """How many packages it depends on, where the record shows them all."""
    number = len(package.depends)
    return ("", (str(number),)) if 0 < number <= SHOWN_DEPENDENCIES else None


def purpose(package: Package, other: str, rng: np.random.Generator) -> Asked:
    """What it is for, in the words of its synopsis."""
    return "", (package.description.synopsis,)


QUESTIONS = (
    Question(
        "section", True, ("Which section is it in?", "In which section is {name}?"), of_field("section")
    ),
    Question(
        "language",
        True,
        ("Which language is it written in?", "What is {name} written in?"),
        of_tags("implemented-in", LANGUAGES),
    ),
    Question(
        "interface",
        True,
        ("Which interface does it have?", "What is the interface of {name}?"),
        of_tags("interface", INTERFACES),
    ),
    Question("kind", True, ("Which kind of package is it?", "What kind is {name}?"), of_tags("role", ROLES)),
    Question("needs", True, ("Does it depend on {it}?", "Does {name} need {it}?"), needs),
    Question(
        "count",
        True,
        ("How many packages does it depend on?", "On how many packages does {name} depend?"),
        count,
    ),
    Question("purpose", False, ("What is it for?", "What does {name} do?"), purpose),
    Question(
        "homepage",
        False,
        ("Where is its homepage?", "What is the homepage of {name}?"),
        of_field("homepage"),
    ),
    Question(
        "depends",
        False,
        ("What does it depend on?", "Which packages does {name} need?"),
        of_field("depends"),
    ),
    Question(
        "source", False, ("What is it built from?", "Which source is {name} built from?"), of_field("source")
    ),
)
