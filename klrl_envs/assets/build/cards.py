"""Cards and manifest: every figure in them comes from the build that made the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from klrl_envs.assets import file_digest
from klrl_envs.assets.build.card_templates import PURPOSES, TEMPLATES

_HEAD = "| measurement | value |\n| --- | --- |\n"


def update_manifest(out: Path, files: Sequence[str]) -> None:
    """Write size and SHA-256 of the files into ``out/manifest.json``; the other entries stay."""
    path = out / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in files:
        file = out / name
        manifest[name] = {"sha256": file_digest(file), "bytes": file.stat().st_size}
    path.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n", "utf-8")


def write_card(out: Path, asset: str, files: Sequence[str], measured: Mapping[str, object]) -> Path:
    """Write ``out/cards/<asset>.md`` from its template, the measurements and the manifest."""
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in measured.items())
    digests = "\n".join(
        f"| `{name}` | {manifest[name]['bytes']:,} | `{manifest[name]['sha256']}` |" for name in files
    )
    name = asset.rpartition(".")[2]
    text = Template(TEMPLATES[asset]).substitute(
        name=name,
        purpose=PURPOSES.get(name, ""),
        measured=_HEAD + rows,
        files=f"| file | bytes | SHA-256 |\n| --- | --- | --- |\n{digests}",
    )
    path = out / "cards" / f"{asset}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def read_measurements(card: Path) -> dict[str, float]:
    """The numbers of a card's table of measurements by name; what is no number is left out."""
    table = card.read_text("utf-8").partition(_HEAD)[2].partition("\n\n")[0]
    found: dict[str, float] = {}
    for line in table.splitlines():
        name, value = (cell.strip() for cell in line.strip("|").split("|"))
        try:
            found[name] = float(value.replace(",", ""))
        except ValueError:
            continue
    return found


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() and value >= 1000 else f"{value:,}"
