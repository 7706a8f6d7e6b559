"""The lists of a Debian release that ``apt`` fetches: packages, descriptions and their translations.

The release's ``InRelease`` names every list with its SHA-256. Lists are taken by that digest, so that all are
of one release, and are checked against it. A folder that has an ``InRelease`` keeps its release; one without
gets the mirror's newest. The file's signature is not checked: its own SHA-256 is recorded.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klrl_envs.assets import file_digest

MIRROR = "http://deb.debian.org/debian/dists/bookworm"
PACKAGES = "main/binary-amd64/Packages.xz"
DESCRIPTIONS = {
    "en": "main/i18n/Translation-en.xz",
    "fr": "main/i18n/Translation-fr.bz2",
    "it": "main/i18n/Translation-it.bz2",
    "de": "main/i18n/Translation-de.bz2",
}
"""Language -> its list; English is what was translated."""

SECONDS = 60
OPENERS = {".xz": lzma.open, ".bz2": bz2.open}


@dataclass(frozen=True)
class Lists:
    """The lists of one release.

    Attributes:
        folder: where they lie.
        release: such as "12.15, Sat, 11 Jul 2026 10:16:37 UTC".
        digests: SHA-256 of ``InRelease`` and of every list, by name.
    """

    folder: Path
    release: str
    digests: Mapping[str, str]

    def paragraphs(self, name: str) -> Iterator[Mapping[str, str]]:
        """The entries of a list, each its fields by name."""
        path = self.folder / Path(name).name
        with OPENERS[path.suffix](path, "rb") as file:
            yield from deb822().Deb822.iter_paragraphs(file, use_apt_pkg=False)


def fetch(folder: Path, mirror: str = MIRROR) -> Lists:
    """The lists in a folder; what is not there yet is taken from the mirror.

    Raises:
        ModuleNotFoundError: python-debian, which reads them, is not installed.
        urllib.error.URLError: the mirror does not answer, or lacks a list.
        ValueError: a list has another SHA-256 than its release says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inrelease = folder / "InRelease"
    if not inrelease.exists():
        write_whole(inrelease, download(f"{mirror}/InRelease"))
    release = deb822().Release(inrelease.read_bytes())
    known = {entry["name"]: entry["sha256"] for entry in release["SHA256"]}
    digests = {"InRelease": file_digest(inrelease)}
    for name in (PACKAGES, *DESCRIPTIONS.values()):
        path = folder / Path(name).name
        digests[path.name] = known[name]
        if not path.exists():
            found = download(f"{mirror}/{Path(name).parent.as_posix()}/by-hash/SHA256/{known[name]}")
            check(name, hashlib.sha256(found).hexdigest(), known[name])
            write_whole(path, found)
        check(name, file_digest(path), known[name])
    return Lists(folder, f"{release['Version']}, {release['Date']}", digests)


def deb822() -> Any:
    """The module that reads the files of Debian.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        from debian import deb822
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "lists of packages need the package python-debian: pip install 'klrl-envs[build]'"
        ) from error
    return deb822


def download(url: str) -> bytes:
    """What lies at an address."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return answer.read()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def check(name: str, seen: str, expected: str) -> None:
    """Raise ValueError where a list has another SHA-256 than its release says."""
    if seen != expected:
        raise ValueError(f"{name} has SHA-256 {seen}, and its release says {expected}: fetch it again")
