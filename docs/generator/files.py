"""Where the site lies, and how its generated files are written."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent


def write(path: Path, text: str) -> Path:
    """Write a file where its text is another: what did not move is not built again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path


def keep_only(folder: Path, written: set[Path]) -> None:
    """Remove what an earlier build left in a folder of generated files."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in written:
            path.unlink()
