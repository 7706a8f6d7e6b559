"""What a claim's page says and how: what was claimed, what was measured, what came out, what it does not
show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

FOLDER = Path(__file__).parent
WIDTH = 110


@dataclass(frozen=True)
class Page:
    """A claim on the yardstick.

    Attributes:
        name: of the command and the folder.
        title: in a few words.
        sources: arXiv ids.
        claimed: what was claimed, by whom, and what of the source was read.
        measured: how it was put to the test, on which tasks.
        found: what came out, in a paragraph each; the index shows the first.
        tables: (caption, Markdown table) in their order.
        not_shown: what does not follow from it.
    """

    name: str
    title: str
    sources: Sequence[str]
    claimed: str
    measured: str
    found: Sequence[str]
    tables: Sequence[tuple[str, str]]
    not_shown: str

    def text(self) -> str:
        """The page as Markdown."""
        links = ", ".join(f"[{one}](https://arxiv.org/abs/{one})" for one in self.sources)
        parts = [
            f"# {self.title}",
            f"Made by `python -m benchmarks.claims {self.name}`; no number is typed in. Source: {links}.",
            "## What was claimed", self.claimed,
            "## What was measured", self.measured,
            "## What was found", *self.found,
            f"![{self.title}]({self.name}.png)",
            *(part for pair in self.tables for part in pair),
            "## What this does not show", self.not_shown,
        ]  # fmt: skip
        return wrapped(parts)


def wrapped(parts: Sequence[str]) -> str:
    """Paragraphs as a file; prose is broken into lines, tables and headings are left alone."""
    prose = [
        part
        if part.startswith(("#", "|", "!"))
        else fill(" ".join(part.split()), WIDTH, break_on_hyphens=False, break_long_words=False)
        for part in parts
    ]
    return "\n\n".join(prose) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """A Markdown table; all but the first ``words`` columns are numbers, and stand to the right."""
    ruler = ["---" if place < words else "---:" for place in range(len(columns))]
    lines = [list(columns), ruler, *[list(row) for row in rows]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def percents(shares: Sequence[float]) -> str:
    """The range of some shares, in percent."""
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def percent(share: float) -> str:
    """A share in percent, with a digit more where it is close to 100 but not there."""
    digits = 1 if 0.99 <= share < 0.9995 else 0
    return f"{100 * share:.{digits}f} %"


def spread(values: Sequence[float], how: str = "{:.2f}") -> str:
    """The smallest and the largest of some numbers, in words."""
    return f"{how.format(min(values))} to {how.format(max(values))}"


def index(folder: Path = FOLDER) -> str:
    """The page of all claims, from the pages that lie in a folder."""
    lines = [
        "# Published claims on an exact yardstick",
        "What papers found by training models, computed on tasks whose optimum is known. Each page says "
        "what was claimed, what was measured, and what it does not show. `python -m benchmarks.claims NAME` "
        "makes a page and its figure anew, `python -m benchmarks.claims all` every one.",
    ]
    for path in sorted(folder.glob("*/README.md")):
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        found = text.partition("## What was found\n\n")[2].partition("\n\n")[0]
        lines.append(f"**[{title}]({path.parent.name}/README.md)** (`{path.parent.name}`). {found}")
    return wrapped(lines)
