"""The cards and the manifest that a build writes."""

from __future__ import annotations

import json
from pathlib import Path

from klrl_envs.assets.build.cards import read_measurements, update_manifest, write_card


def test_card_and_manifest_come_from_the_build(tmp_path: Path) -> None:
    (tmp_path / "words.safetensors").write_bytes(b"words")
    update_manifest(tmp_path, ["words.safetensors"])
    measured = {"vocabulary": 2011, "alpha": 0.05, "chosen": "whole", "table": {"1.0": 2.5}}
    card = write_card(tmp_path, "words", ["words.safetensors"], measured)
    assert read_measurements(card) == {"vocabulary": 2011, "alpha": 0.05}
    update_manifest(tmp_path, [])
    assert json.loads((tmp_path / "manifest.json").read_text("utf-8"))["words.safetensors"]["bytes"] == 5
