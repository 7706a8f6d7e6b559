"""A Debian mirror in a folder: of a few packages, or of many that are alike."""

from __future__ import annotations

import bz2
import hashlib
import lzma
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from klrl_envs.assets.build.debian_lists import DESCRIPTIONS, PACKAGES

RELEASE = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Origin: Debian
Version: 12.15
Codename: bookworm
Date: Sat, 11 Jul 2026 10:16:37 UTC
SHA256:
{entries}
-----BEGIN PGP SIGNATURE-----

none
-----END PGP SIGNATURE-----
"""
PACKAGE_LIST = """\
Package: zap
Depends: libc6 (>= 2.34), zap-data | zap-extra, python3:any, libc6
Homepage: https://zap.example/
Description-md5: 1a
Section: games
Tag: role::program,
 implemented-in::c, implemented-in::c++

Package: zap-twin
Source: zap (1.0)
Description-md5: 1a
Section: games

Package: zap-data
Source: zapdata
Description-md5: 2b
Section: non-free/games

Package: bare
Description-md5: 3c
Section: misc

Package: zip13
Source: zop13
Description-md5: 4d
Section: libs

Package: libzop3
Source: zop
Description-md5: 5e
Section: libs
"""
TRANSLATIONS = {
    "en": """\
Package: zap
Description-md5: 1a
Description-en: puzzle game \u2013 \u201cquick\u201d
 Zap is a game
 of puzzles.
 .
 It has:
  * levels
  * sounds

Package: zap-data
Description-md5: 2b
Description-en: puzzle game - data
 Zap is a game of puzzles.
 .
 This package contains the data.

Package: bare
Description-md5: 3c
Description-en: nothing more to say

Package: zip13
Description-md5: 4d
Description-en: library for zips
 It zips.

Package: libzop3
Description-md5: 5e
Description-en: library for zops
 It zops.
""",
    "fr": """\
Package: zap
Description-md5: 1a
Description-fr: jeu de réflexion
 Zap est un jeu.
 .
 Il a\u00a0:
  * des niveaux

Package: gone
Description-md5: 9f
Description-fr: disparu
 Il n'est plus.
""",
    "it": """\
Package: zap-data
Description-md5: 2b
Description-it: rompicapo - dati
 Zap è un gioco.
 .
 Questo pacchetto contiene i dati.
""",
    "de": """\
Package: zap
Description-md5: 1a
Description-de: Denkspiel
 Zap ist ein Spiel.
""",
}


NOUNS = ("game", "library", "editor", "player", "server", "compiler", "reader", "toolkit")
NAMES = ("zap", "zop", "zup", "zig", "zag", "zeg", "zog", "zug", "zyg")


def many(count: int) -> tuple[str, dict[str, str]]:
    """The lists of so many packages, each a family of its own, all translated into every language."""
    packages: list[str] = []
    texts: dict[str, list[str]] = {language: [] for language in DESCRIPTIONS}
    for number in range(count):
        noun = NOUNS[number % len(NOUNS)]
        name = NAMES[number % len(NAMES)] + "abcdefghij"[number // 10 % 10] + "klmnopqrst"[number % 10]
        packages.append(
            f"Package: {name}\nDescription-md5: {number}\nSection: {noun}s\nDepends: libc6, {noun}-data\n"
            f"Tag: role::program, implemented-in::c, interface::web\nHomepage: https://{name}.example/\n"
        )
        for language in texts:
            texts[language].append(
                f"Package: {name}\nDescription-md5: {number}\nDescription-{language}: {language} {noun} of "
                f"{name}\n {name.title()} is the {noun} {number}.\n .\n This is {language} for the {noun}.\n"
            )
    return "\n".join(packages), {language: "\n".join(found) for language, found in texts.items()}


def mirror(
    folder: Path,
    packages: str = PACKAGE_LIST,
    translations: Mapping[str, str] = MappingProxyType(TRANSLATIONS),
) -> str:
    """Write a mirror of these lists; return its address."""
    texts = {PACKAGES: packages} | {DESCRIPTIONS[each]: text for each, text in translations.items()}
    entries: list[str] = []
    for name, text in texts.items():
        compress = {".xz": lzma.compress, ".bz2": bz2.compress}[Path(name).suffix]
        data = compress(text.encode())
        digest = hashlib.sha256(data).hexdigest()
        path = folder / Path(name).parent / "by-hash" / "SHA256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        entries.append(f" {digest} {len(data)} {name}")
    (folder / "InRelease").write_text(RELEASE.format(entries="\n".join(entries)))
    return folder.as_uri()
