"""Pages of the repository as pages of the site, with what they link to.

The README is cut into its sections, which pages include. Every other file is found from link to link:
Markdown becomes a page, a picture is copied, a folder becomes a list of its files, and code a page that shows
it. Links are made absolute in the site.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from docs.generator.files import DOCS, ROOT, keep_only, write

FOLDER = "repository"
STARTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "agents/README.md",
    "leaderboard/RULES.md",
    "leaderboard/TABLE.md",
    "benchmarks/COMPARISON.md",
    "benchmarks/CLUSTER.md",
    "benchmarks/claims/README.md",
    "benchmarks/signals/README.md",
    "benchmarks/studies/coverage/README.md",
    "benchmarks/studies/pitfalls/README.md",
    "benchmarks/studies/side_by_side/README.md",
    "benchmarks/studies/trainers/README.md",
    "benchmarks/studies/unseen_answers/README.md",
    "benchmarks/tuning/README.md",
)
PICTURES = (".png", ".svg")
LANGUAGES = {".py": "python", ".json": "json", ".toml": "toml"}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
"""The target of a link within the repository."""
SECTION = re.compile(r"(?<=\]\()#(?P<section>[\w-]+)(?=\))")
"""The target of a link to a section of the same page."""
INCLUDED = re.compile(r"\{include\} /?repository/README/(\S+)\.md")


def write_pages(root: Path = ROOT, docs: Path = DOCS, starts: Sequence[str] = STARTS) -> set[Path]:
    """Write all pages, and remove those that nothing links to any more; returns what was written.

    Raises:
        FileNotFoundError: a page links to a file that is not there.
    """
    pending, seen, written = [root / start for start in starts], set[Path](), set[Path]()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.suffix == ".md":
            pending += linked(path, root)
        written |= set(pages_of(path, root, docs))
    keep_only(docs / FOLDER, written)
    return written


def pages_of(path: Path, root: Path, docs: Path) -> Iterator[Path]:
    """Write what a file of the repository is on the site."""
    name = path.relative_to(root).as_posix()
    if name == "README.md":
        pages = including(root / docs.name)
        for title, text in sections(with_links(path, root)).items():
            text = SECTION.sub(lambda match: pages.get(match["section"], match[0]), text)
            yield write(docs / FOLDER / "README" / f"{title}.md", text)
    elif path.suffix == ".md":
        yield write(docs / FOLDER / name, f"---\norphan: true\n---\n\n{with_links(path, root)}")
    elif path.suffix in PICTURES:
        copy = docs / FOLDER / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        yield Path(shutil.copyfile(path, copy))
    else:
        yield write(
            docs / FOLDER / f"{name}.md", listing(path, name) if path.is_dir() else source(path, name)
        )


def including(docs: Path) -> dict[str, str]:
    """Section of the README -> the page of the site that includes it."""
    found = {}
    for page in sorted(docs.rglob("*.md")):
        if FOLDER not in page.relative_to(docs).parts:
            for name in INCLUDED.findall(page.read_text(encoding="utf-8")):
                found[name] = f"/{page.relative_to(docs).as_posix()}"
    return found


def sections(text: str) -> dict[str, str]:
    """A page by its sections, each under a name made of its title, and what stands before them as "top"."""
    top, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    parts = {"top": top.partition("\n")[2].strip("\n") + "\n"}
    for part in rest:
        title, _, body = part.partition("\n")
        parts[re.sub(r"\W+", "-", title.lower()).strip("-")] = body.strip("\n") + "\n"
    return parts


def linked(path: Path, root: Path) -> list[Path]:
    """The files of the repository that a page links to."""
    return [target(path, match["path"], root) for match in LINK.finditer(path.read_text(encoding="utf-8"))]


def target(page: Path, link: str, root: Path) -> Path:
    """The file that a link means: of a folder its page, where it has one."""
    path = (page.parent / link).resolve()
    if not path.exists() or not path.is_relative_to(root):
        raise FileNotFoundError(f"{page.relative_to(root)} links to {link!r}, which is not there")
    return path / "README.md" if (path / "README.md").exists() else path


def with_links(page: Path, root: Path) -> str:
    """A page's text, its links pointing to pages of the site."""

    def moved(match: re.Match[str]) -> str:
        name = target(page, match["path"], root).relative_to(root).as_posix()
        if name == "README.md":
            return "/index.md"
        kept = name.endswith((".md", *PICTURES))
        return f"/{FOLDER}/{name if kept else f'{name}.md'}{match['anchor'] or ''}"

    return LINK.sub(moved, page.read_text(encoding="utf-8"))


def listing(folder: Path, name: str) -> str:
    """A page of a folder: its modules, each with the first line of its docstring."""
    lines = ["---", "orphan: true", "---", "", f"# {name}", ""]
    for path in sorted(folder.glob("*.py")):
        first = path.read_text(encoding="utf-8").partition('"""')[2].partition("\n")[0].rstrip('"')
        lines.append(f"- `{path.name}`: {first}")
    return "\n".join(lines) + "\n"


def source(path: Path, name: str) -> str:
    """A page that shows a file."""
    text = path.read_text(encoding="utf-8").rstrip("\n")
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`{3,}", text)), 3)
    language = LANGUAGES.get(path.suffix, "text")
    return f"---\norphan: true\n---\n\n# {name}\n\n{fence}{language}\n{text}\n{fence}\n"
