"""The cards and the manifest that a build writes."""

from __future__ import annotations

import json
from pathlib import Path

from klrl_envs.assets import FOLDER
from klrl_envs.assets.build.__main__ import recipes
from klrl_envs.assets.build.cards import HEAD, card_text, read_measurements, update_manifest, write_card


def test_card_and_manifest_come_from_the_build(tmp_path: Path) -> None:
    (tmp_path / "words.safetensors").write_bytes(b"words")
    update_manifest(tmp_path, ["words.safetensors"])
    measured = {"vocabulary": 2011, "alpha": 0.05, "chosen": "whole", "table": {"1.0": 2.5}}
    (asset,) = recipes()["words"].assets
    card = write_card(tmp_path, "words", asset, measured)
    assert read_measurements(card) == {"vocabulary": 2011, "alpha": 0.05}
    update_manifest(tmp_path, [])
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8"))["words.safetensors"]["bytes"] == 5


def test_the_shipped_cards_are_those_of_the_builders() -> None:
    for recipe in recipes().values():
        for asset in recipe.assets:
            shipped = (FOLDER / "cards" / f"{asset.name}.md").read_text("utf-8")
            rows = shipped.partition(HEAD)[2].partition("\n\n")[0]
            assert rows and card_text(FOLDER, recipe.name, asset, rows) == shipped
