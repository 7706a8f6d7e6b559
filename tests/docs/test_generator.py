"""What is generated: pages of environments, of the repository, of the library, and the citation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import klrl_envs
from docs.generator import api, docstrings, environments, repository
from docs.generator.files import keep_only, write
from klrl_envs.registry import REGISTRY, find_row
from tests.imports import ROOT


def test_an_environment_has_its_page(tmp_path: Path) -> None:
    row = find_row("DiagnosticSparsity-v0")
    written = environments.write_pages(tmp_path, (row,))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == written
    page = (tmp_path / "environments" / f"{row.id}.md").read_text(encoding="utf-8")
    assert row.specification() in page and row.summary in page
    best = klrl_envs.optimum(row.gym_id)
    assert f"{best.value:.6g}" in page and f"{best.kl:.6g}" in page
    assert all(f"`{settings}`" in page for settings in row.sweep)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (tmp_path / "environments" / picture).stat().st_size > 1000
    index = (tmp_path / "environments" / "index.md").read_text(encoding="utf-8")
    assert f"[{row.id}]({row.id}.md)" in index


def test_what_took_long_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = find_row("DiagnosticSparsity-v0")
    first = environments.write_pages(tmp_path, (row,))
    monkeypatch.setattr(environments, "card_of", None)
    monkeypatch.setattr(environments, "draw_frontier", None)
    assert environments.write_pages(tmp_path, (row,)) == first


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.id)
def test_every_environment_has_a_transcript_to_show(row: klrl_envs.Row) -> None:
    assert (ROOT / "tests" / "golden" / f"{row.id}.json").is_file()
    assert "## Rewards" in row.specification()


def test_links_of_the_repository_become_links_of_the_site(tmp_path: Path) -> None:
    root, docs = tmp_path / "root", tmp_path / "docs"
    write(
        root / "README.md",
        "# t\n\nhello\n\n## Two parts\n\n    make it\n\n[a](deep/a.md#x) [code](deep/code.py)\n",
    )
    write(
        root / "deep" / "a.md",
        "# a\n\n[up](../README.md) [web](https://example.org) ![p](p.png) [here](#x)\n",
    )
    write(root / "deep" / "code.py", '"""Fences: ```` are kept."""\n')
    write(root / "deep" / "p.png", "")
    stale = write(docs / "repository" / "stale.md", "")
    repository.write_pages(root, docs, starts=("README.md",))
    part = (docs / "repository" / "README" / "two-parts.md").read_text()
    assert part == "    make it\n\n[a](/repository/deep/a.md#x) [code](/repository/deep/code.py.md)\n"
    page = (docs / "repository" / "deep" / "a.md").read_text()
    assert "[up](/index.md) [web](https://example.org) ![p](/repository/deep/p.png) [here](#x)" in page
    assert "`````python" in (docs / "repository" / "deep" / "code.py.md").read_text()
    assert (docs / "repository" / "deep" / "p.png").exists() and not stale.exists()


def test_a_link_to_a_section_of_the_readme_leads_to_the_page_that_includes_it(tmp_path: Path) -> None:
    root, docs = tmp_path / "root", tmp_path / "docs"
    write(
        root / "README.md",
        "# t\n\n[there](#two-parts) [nowhere](#none)\n\n## Two parts\n\n[up](#two-parts)\n",
    )
    write(root / "docs" / "deep" / "page.md", "```{include} /repository/README/two-parts.md\n```\n")
    write(root / "docs" / "repository" / "old.md", "```{include} /repository/README/none.md\n```\n")
    repository.write_pages(root, docs, starts=("README.md",))
    top, part = ((docs / "repository" / "README" / f"{name}.md").read_text() for name in ("top", "two-parts"))
    assert top == "[there](/deep/page.md) [nowhere](#none)\n" and part == "[up](/deep/page.md)\n"


def test_every_section_that_the_readme_links_to_is_on_a_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {match["section"] for match in repository.SECTION.finditer(text)}
    assert linked and linked <= set(repository.including(ROOT / "docs"))


def test_a_link_to_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "README.md", "[gone](gone.md)")
    with pytest.raises(FileNotFoundError, match=r"README.md links to 'gone.md'"):
        repository.write_pages(tmp_path, tmp_path / "docs", starts=("README.md",))


def test_the_pages_of_the_repository_are_all_there(tmp_path: Path) -> None:
    written = {
        path.relative_to(tmp_path / "repository").as_posix() for path in repository.write_pages(docs=tmp_path)
    }
    assert {"agents/README.md", "leaderboard/TABLE.md", "CONTRIBUTING.md", "README/ten-lines.md"} <= written
    used = re.findall(r"\{include\} /?repository/(\S+)", "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")
        if "repository" not in page.relative_to(ROOT / "docs").parts
    ))  # fmt: skip
    assert used and set(used) <= written


def test_every_public_name_is_in_the_reference(tmp_path: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in api.write_reference(tmp_path))
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)", text, re.MULTILINE))
    for name in klrl_envs.__all__:
        value = getattr(klrl_envs, name)
        known = {f"klrl_envs.{name}", getattr(value, "__name__", "")}
        assert known & documented or value is klrl_envs.integrations, name
    assert {f"klrl_envs.integrations.{name}" for name in ("sb3", "trl", "trainer")} <= documented


def test_signs_are_escaped_outside_code() -> None:
    assert docstrings.escape_signs(["pi* and (.|s), ``a*b``, `c|d`", "x::", "", "    a * b", "", "b*"]) == [
        r"pi\* and (.\|s), ``a*b``, `c|d`", "x::", "", "    a * b", "", r"b\*",
    ]  # fmt: skip
    assert docstrings.escape_signs([r"\*\*kwargs", "`part`s"]) == [r"\*\*kwargs", r"`part`\ s"]
    assert docstrings.escape_signs(["`open* ``", "``a``b*"]) == [r"`open* ``", r"``a``\ b\*"]


def test_a_field_of_several_names_stays_one() -> None:
    lines = [":ivar lower, upper: bounds", ":ivar value: pi*"]
    docstrings.after_napoleon(None, "class", "", None, None, lines)
    assert lines == [":ivar lower,upper: bounds", r":ivar value: pi\*"]


def test_indented_examples_become_literal_blocks() -> None:
    text = ["So:", "", "    x = 1", "    y = 2", "", "Args:", "    x: is", "", "    z"]
    assert docstrings.mark_blocks(["These:", "- a", "  b", "- c"]) == ["These:", "", "- a", "  b", "- c"]
    assert docstrings.mark_blocks(text) == [*text[:2], "::", "", *text[2:]]


def test_the_citation_has_what_the_file_says() -> None:
    citation = pytest.importorskip("docs.generator.citation", reason="needs pip install 'klrl-envs[docs]'")
    known = {"title": "T", "version": "1.2", "license": "MIT", "date-released": "2026-01-02"}
    people = [{"family-names": "Bayes", "given-names": "Thomas"}, {"name": "the others"}]
    text = citation.bibtex({**known, "authors": people})
    assert text.startswith("@software{klrl,\n") and text.endswith("}\n")
    assert "author  = {Bayes, Thomas and {the others}}," in text
    assert "title   = {{T}}," in text and "year    = {2026}," in text


def test_files_that_did_not_move_are_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "text")
    before = path.stat().st_mtime_ns
    write(path, "text")
    other = write(tmp_path / "b.md", "")
    keep_only(tmp_path, {path})
    assert path.stat().st_mtime_ns == before and not other.exists()
