"""What pages show without running it is little, and is there."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, fences, notebooks, written_pages
from tests.imports import ROOT

PLAIN = {"bash"}
"""Blocks that no test runs: commands to install or to train by, whose targets and modules are looked up."""


@pytest.mark.parametrize("page", written_pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_code_is_written_in_cells_which_run(page: Path) -> None:
    plain = {info for info, _ in fences(page) if not info.startswith("{")}
    assert plain <= PLAIN, f"write code as {{code-cell}}, so that it runs: {plain - PLAIN}"


@pytest.mark.parametrize("page", written_pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_that_are_only_shown_exist(page: Path) -> None:
    text = "\n".join(body for info, body in fences(page) if info in PLAIN)
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    modules = re.findall(r"^python -m (\S+)", text, re.MULTILINE)
    assert all(find_spec(module) is not None for module in modules)
    known = re.compile(r"(make|python -m|source|pip install|klrl) ?")
    assert all(known.match(line) for line in text.splitlines() if line)


def test_notebooks_are_kept_without_outputs() -> None:
    assert len(notebooks()) >= 2
    for path in notebooks():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_every_page_is_found_from_the_start() -> None:
    listed = {
        (page.parent / name.strip()).relative_to(DOCS)
        for page in written_pages()
        for info, body in fences(page)
        if info == "{toctree}"
        for name in body.splitlines()
        if name.strip() and not name.startswith(":")
    }
    pages = {page.relative_to(DOCS).with_suffix("") for page in [*written_pages(), *notebooks()]}
    assert pages - listed == {Path("index")}
