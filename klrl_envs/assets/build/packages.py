"""Debian's packages as texts: their descriptions in four languages, and what their records say.

A package counts once where others have the same English description. Packages are kept apart by families:
those of one source (whatever numbers its name has), and those whose descriptions begin with the same
paragraph. A family belongs to the held-out tenth or to training as a whole, so that no sibling of a held-out
package is trained on.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from klrl_envs.assets.build.debian_lists import DESCRIPTIONS, PACKAGES, Lists

HELD_OUT_PERCENT = 10
_TYPOGRAPHY = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
    | {"\u2212": "-", "\u2026": "...", "\u22c5": " "}  # the last stands for a space that does not break
)
_NUMBERS = re.compile(r"[-.]?\d[\d.]*")
_ALTERNATIVE = re.compile(r"[ (:|\[].*")


@dataclass(frozen=True)
class Description:
    """A synopsis and the paragraphs of the long description, which may be none."""

    synopsis: str
    paragraphs: tuple[str, ...]

    @property
    def long(self) -> str:
        """The long description in one line."""
        return " ".join(self.paragraphs)


@dataclass(frozen=True)
class Package:
    """A package.

    Attributes:
        name, source: of the package, and of the source that it is built from.
        section: such as "games".
        homepage: or "".
        depends: names of the packages that it needs, of alternatives the first.
        tags: debtags by facet, such as {"implemented-in": ("c++",)}.
        description: in English.
        translations: language -> the descriptions that translators have made of it.
        family: the name of its family.
        held_out: whether its family is one of the tenth that nothing is trained on.
    """

    name: str
    source: str
    section: str
    homepage: str
    depends: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    description: Description
    translations: Mapping[str, tuple[Description, ...]]
    family: str = ""
    held_out: bool = False


def clean(text: str) -> str:
    """Composed characters (NFC), ASCII quotes and dashes, single spaces that may all break."""
    return " ".join(unicodedata.normalize("NFC", text).translate(_TYPOGRAPHY).split())


def parse_description(field: str) -> Description:
    """A description as lists hold it: the synopsis, then lines, of which " ." parts paragraphs."""
    synopsis, _, rest = field.partition("\n")
    parts = re.split(r"(?m)^ \.\s*$", rest)
    return Description(clean(synopsis), tuple(part for part in map(clean, parts) if part))


def parse_tags(field: str) -> dict[str, tuple[str, ...]]:
    """Debtags by facet: "role::program, use::{editing,printing}" has the facets role and use."""
    facets: dict[str, list[str]] = defaultdict(list)
    for tag in re.split(r",\s+", field.strip()):
        facet, _, value = tag.partition("::")
        if value:
            facets[facet] += value.strip("{}").split(",")
    return {facet: tuple(values) for facet, values in facets.items()}


def parse_names(field: str) -> tuple[str, ...]:
    """Names of the packages of a relation, without versions; of alternatives the first; none twice."""
    names = (_ALTERNATIVE.sub("", part.strip()) for part in field.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def load_packages(lists: Lists) -> list[Package]:
    """The packages that have a long description, by name, with family and part."""
    described: dict[str, dict[str, dict[Description, None]]] = {}
    for language, name in DESCRIPTIONS.items():
        described[language] = defaultdict(dict)
        for entry in lists.paragraphs(name):
            found = parse_description(entry[f"Description-{language}"])
            described[language][entry["Description-md5"]][found] = None
    packages: dict[Description, Package] = {}
    for entry in sorted(lists.paragraphs(PACKAGES), key=lambda each: each["Package"]):
        key = entry["Description-md5"]
        english = next(iter(described["en"].get(key, ())), None)
        if english is None or not english.paragraphs or english in packages:
            continue
        packages[english] = Package(
            name=entry["Package"],
            source=entry.get("Source", entry["Package"]).split(" ")[0],
            section=entry["Section"].split("/")[-1],
            homepage=entry.get("Homepage", ""),
            depends=parse_names(entry.get("Depends", "")),
            tags=parse_tags(entry.get("Tag", "")),
            description=english,
            translations={
                language: tuple(described[language][key])
                for language in DESCRIPTIONS
                if language != "en" and key in described[language]
            },
        )
    return with_families(list(packages.values()))


def with_families(packages: Sequence[Package]) -> list[Package]:
    """The packages with their families, each named by the first of its sources, and their part."""
    origins = [family_of_source(package.source) for package in packages]
    openings = [package.description.paragraphs[0] for package in packages]
    names = joined(zip(origins, openings, strict=True))
    families = [names[origin] for origin in origins]
    return [
        replace(package, family=family, held_out=is_held_out(family))
        for package, family in zip(packages, families, strict=True)
    ]


def family_of_source(source: str) -> str:
    """A source's name without the numbers in it: gcc-12 and gcc-13 are relatives."""
    return _NUMBERS.sub("", source) or source


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Source -> the first, in the alphabet, of those that are connected with it by openings in common."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for source, opening in pairs:
        first, second = root(("0 source", source)), root(("1 opening", opening))
        parent[max(first, second)] = min(first, second)
    return {node[1]: root(node)[1] for node in parent if node[0] == "0 source"}


def is_held_out(family: str) -> bool:
    """Whether a family is held out, a function of its name alone."""
    number = int.from_bytes(hashlib.sha256(family.encode()).digest()[:4], "big")
    return number % 100 < HELD_OUT_PERCENT
