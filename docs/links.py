"""Check a built site: every link, picture, script and anchor within it leads somewhere.

python -m docs.links build/docs/html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

GENERATED = {"genindex.html", "search.html", "py-modindex.html"}
"""Pages whose anchors Sphinx makes by script."""


@dataclass
class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    links: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in a tag."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            if name == "id" and value:
                self.anchors.add(value)


def broken(site: Path) -> Iterator[str]:
    """A line for each link of a site that leads nowhere."""
    pages = {path: page_of(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.exists():
                yield f"{path.relative_to(site)}: {link} is not there"
            elif goal in pages and goal.name not in GENERATED and missing(parts.fragment, pages[goal]):
                yield f"{path.relative_to(site)}: {link} has no such anchor"


def missing(anchor: str, page: Page) -> bool:
    """Whether a page lacks an anchor; what has an equals sign is a state that the page's script reads."""
    return bool(anchor) and "=" not in anchor and unquote(anchor) not in page.anchors


def page_of(path: Path) -> Page:
    """A page, read."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def main() -> int:
    """The command line; the exit code says whether all is well."""
    site = Path(sys.argv[1]).resolve()
    found = list(broken(site))
    print(
        "\n".join(found) or f"{len(list(site.rglob('*.html')))} pages, and every link in them leads somewhere"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
