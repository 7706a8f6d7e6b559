"""How to cite, from CITATION.cff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from docs.generator.files import DOCS, ROOT, write


def write_citation(docs: Path = DOCS, root: Path = ROOT) -> Path:
    """Write the BibTeX entry that the page on citing includes."""
    known = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    return write(docs / "repository" / "citation.bib", bibtex(known))


def bibtex(known: dict[str, Any]) -> str:
    """A BibTeX entry of what a CITATION.cff says; names of teams stay in one piece."""
    authors = " and ".join(
        f"{{{author['name']}}}" if "name" in author else f"{author['family-names']}, {author['given-names']}"
        for author in known["authors"]
    )
    fields = {"title": f"{{{known['title']}}}", "author": authors, "version": str(known["version"])}
    fields |= {"note": f"License: {known['license']}"} if "license" in known else {}
    fields |= {"url": known["repository-code"]} if "repository-code" in known else {}
    fields |= {"year": str(known["date-released"])[:4]} if "date-released" in known else {}
    width = max(map(len, fields))
    lines = [f"  {name:<{width}} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@software{klrl,", *lines, "}", ""])
