"""From lists, as a Debian mirror has them, to packages with their families."""

from __future__ import annotations

import bz2
import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from klrl_envs.assets.build.debian_lists import DESCRIPTIONS, PACKAGES, fetch
from klrl_envs.assets.build.packages import (
    Description,
    clean,
    family_of_source,
    is_held_out,
    load_packages,
    parse_description,
    parse_names,
    parse_tags,
)
from tests.assets.debian import mirror


def test_the_release_and_its_digests_are_recorded_and_what_is_there_stays(tmp_path: Path) -> None:
    address = mirror(tmp_path / "mirror")
    lists = fetch(tmp_path / "lists", address)
    assert lists.release == "12.15, Sat, 11 Jul 2026 10:16:37 UTC"
    assert set(lists.digests) == {"InRelease", *(Path(n).name for n in (PACKAGES, *DESCRIPTIONS.values()))}
    for name, seen in lists.digests.items():
        assert hashlib.sha256((tmp_path / "lists" / name).read_bytes()).hexdigest() == seen
    shutil.rmtree(tmp_path / "mirror")
    assert fetch(tmp_path / "lists", address) == lists


def test_a_list_that_is_not_the_release_s_is_refused(tmp_path: Path) -> None:
    address = mirror(tmp_path / "mirror")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "Translation-fr.bz2").write_bytes(bz2.compress(b"Package: other\n"))
    with pytest.raises(ValueError, match=r"main/i18n/Translation-fr\.bz2 has SHA-256 .* fetch it again"):
        fetch(tmp_path / "lists", address)


def test_packages_of_the_lists(tmp_path: Path) -> None:
    packages = {each.name: each for each in load_packages(fetch(tmp_path / "lists", mirror(tmp_path / "m")))}
    # zap-twin has zap's description, and bare has no long one
    assert list(packages) == ["libzop3", "zap", "zap-data", "zip13"]
    zap = packages["zap"]
    assert (zap.source, zap.section, zap.homepage) == ("zap", "games", "https://zap.example/")
    assert zap.depends == ("libc6", "zap-data", "python3")
    assert zap.tags == {"role": ("program",), "implemented-in": ("c", "c++")}
    assert zap.description.synopsis == 'puzzle game - "quick"'
    assert zap.description.paragraphs == ("Zap is a game of puzzles.", "It has: * levels * sounds")
    assert zap.description.long == "Zap is a game of puzzles. It has: * levels * sounds"
    assert zap.translations == {
        "fr": (Description("jeu de réflexion", ("Zap est un jeu.", "Il a : * des niveaux")),),
        "de": (Description("Denkspiel", ("Zap ist ein Spiel.",)),),
    }


def test_families_hold_sources_of_one_name_and_descriptions_of_one_opening(tmp_path: Path) -> None:
    packages = load_packages(fetch(tmp_path / "lists", mirror(tmp_path / "m")))
    families = {each.name: each.family for each in packages}
    # zap-data's text begins as zap's; zip13 is built from zop13, and libzop3 from zop
    assert families == {"libzop3": "zop", "zap": "zap", "zap-data": "zap", "zip13": "zop"}
    assert all(each.held_out == is_held_out(each.family) for each in packages)


def test_parts_of_an_entry() -> None:
    assert clean("a\u00a0\u22c5\u201cb\u201d \u2013 c\u2019d\u2026\n e\u0301") == 'a "b" - c\'d... \u00e9'
    assert parse_description("one\n two\n three\n .\n .\n four") == Description("one", ("two three", "four"))
    assert parse_description("one") == Description("one", ())
    assert parse_tags("role::program, use::{editing,printing},\n use::viewing, odd") == {
        "role": ("program",),
        "use": ("editing", "printing", "viewing"),
    }
    assert parse_names("a (>= 1), b | c, d:any, a [amd64],") == ("a", "b", "d")
    assert parse_names("") == ()
    assert [family_of_source(name) for name in ("gcc-12", "gcc-13", "lua5.4", "0ad", "7zip", "4")] == [
        *("gcc", "gcc", "lua", "ad", "zip", "4")
    ]


def test_about_a_tenth_is_held_out() -> None:
    assert 0.08 < sum(is_held_out(f"family {number}") for number in range(4000)) / 4000 < 0.12


def test_what_reads_the_lists_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "debian", None)
    with pytest.raises(ModuleNotFoundError, match=r"python-debian: pip install 'klrl-envs\[build\]'"):
        fetch(tmp_path / "lists", mirror(tmp_path / "mirror"))
