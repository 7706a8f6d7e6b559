"""The site's pages as tests read them: what is written by hand, and its cells as notebooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.imports import ROOT

DOCS = ROOT / "docs"
GENERATED = ("api", "environments", "repository")
FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL
)


def written_pages() -> list[Path]:
    """The pages of Markdown that people write."""
    return [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] not in GENERATED]


def notebooks() -> list[Path]:
    """The notebooks."""
    return sorted((DOCS / "notebooks").glob("*.ipynb"))


def fences(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: what each says that it is, and its text."""
    text = page.read_text(encoding="utf-8")
    return [(match["info"].strip(), match["body"]) for match in FENCE.finditer(text)]


def runs(page: Path) -> bool:
    """Whether a page has cells."""
    return any(info.startswith("{code-cell}") for info, _ in fences(page))


def as_notebook(page: Path) -> Any:
    """A page's cells in order, as a notebook."""
    import nbformat
    from myst_nb.core.read import read_myst_markdown_notebook

    if page.suffix == ".ipynb":
        return nbformat.read(page, as_version=4)
    return read_myst_markdown_notebook(page.read_text(encoding="utf-8"))
