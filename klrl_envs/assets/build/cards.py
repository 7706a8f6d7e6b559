"""Cards and manifest: every figure in them comes from the build that made the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any, cast

from klrl_envs.assets import file_digest
from klrl_envs.assets.build.corpus import DATA
from klrl_envs.assets.build.recipe import Asset

REBUILD = """\
Rebuild with `python -m klrl_envs.assets.build COMMAND` (extra `build`). A long build that was
interrupted goes on where it stopped. What is drawn has its seed in the module; another CPU or
library version may round otherwise, and any other byte is another task, so a rebuilt file is for a
new version of the environments that use it."""

HEAD = "| measurement | value |\n| --- | --- |\n"


def update_manifest(out: Path, files: Iterable[str]) -> None:
    """Write size and SHA-256 of the files into ``out/manifest.json``; the other entries stay."""
    path = out / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in files:
        file = out / name
        manifest[name] = {"sha256": file_digest(file), "bytes": file.stat().st_size}
    path.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n", "utf-8")


def write_card(out: Path, command: str, asset: Asset, measured: Mapping[str, object]) -> Path:
    """Write ``out/cards/<asset>.md`` from its text, the measurements and the manifest."""
    path = out / "cards" / f"{asset.name}.md"
    path.parent.mkdir(exist_ok=True)
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in measured.items())
    path.write_text(card_text(out, command, asset, rows), "utf-8")
    return path


def card_text(out: Path, command: str, asset: Asset, rows: str) -> str:
    """A card, given the rows of its table of measurements."""
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    digests = "\n".join(
        f"| `{name}` | {manifest[name]['bytes']:,} | `{manifest[name]['sha256']}` |" for name in asset.files
    )
    return Template(asset.card).substitute(
        data=DATA,
        rebuild=REBUILD.replace("COMMAND", command),
        measured=HEAD + rows,
        files=f"| file | bytes | SHA-256 |\n| --- | --- | --- |\n{digests}",
    )


def read_measurements(card: Path) -> dict[str, float]:
    """The numbers of a card's table of measurements by name; what is no number is left out."""
    table = card.read_text("utf-8").partition(HEAD)[2].partition("\n\n")[0]
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
        return ", ".join(f"{key}: {_shown(item)}" for key, item in cast(Mapping[str, object], value).items())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() and value >= 1000 else f"{value:,}"
