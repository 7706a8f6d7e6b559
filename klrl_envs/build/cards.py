"""Cards and manifest: every figure in them comes from the build that made the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from klrl_envs.assets import file_digest

_TEMPLATES = Path(__file__).parent / "templates"


def update_manifest(out: Path, files: Sequence[str]) -> None:
    """Write size and SHA-256 of the files into ``out/manifest.json``; the other entries stay."""
    path = out / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in files:
        file = out / name
        manifest[name] = {"sha256": file_digest(file), "bytes": file.stat().st_size}
    path.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n", "utf-8")


def write_card(out: Path, asset: str, files: Sequence[str], measured: Mapping[str, object]) -> Path:
    """Write ``out/cards/<asset>.md`` from its template, the measurements and the files themselves.

    In the template, ``$measured`` stands for the whole table of measurements, ``$files`` for names,
    sizes and digests, and ``$<key>`` for one measurement.
    """
    template = Template((_TEMPLATES / f"{asset}.md").read_text("utf-8"))
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in measured.items())
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    digests = "\n".join(
        f"| `{name}` | {manifest[name]['bytes']:,} | `{manifest[name]['sha256']}` |" for name in files
    )
    text = template.substitute(
        {key: _shown(value) for key, value in measured.items()},
        measured=f"| measurement | value |\n| --- | --- |\n{rows}",
        files=f"| file | bytes | SHA-256 |\n| --- | --- | --- |\n{digests}",
    )
    path = out / "cards" / f"{asset}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def read_measurements(card: Path) -> dict[str, float]:
    """The numbers of a card's table of measurements by name."""
    table = card.read_text("utf-8").partition("| measurement | value |")[2].partition("\n\n")[0]
    found: dict[str, float] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2:
            try:
                found[cells[0]] = float(cells[1].replace(",", ""))
            except ValueError:
                continue
    return found


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}"
