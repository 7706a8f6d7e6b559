"""The shipped files are those of the manifest, and hold what they must."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import klrl_envs.assets as assets
from klrl_envs.assets.build.__main__ import recipes
from klrl_envs.reference.words import load_words

BUILT = [name for recipe in recipes().values() for name in recipe.files]


@pytest.mark.parametrize("name", BUILT)
def test_manifest_matches_the_file(name: str) -> None:
    entry = assets.manifest()[name]
    path = assets.FOLDER / name
    assert assets.file_digest(path) == entry["sha256"]
    assert path.stat().st_size == entry["bytes"]
    assert assets.asset_path(name) == path


def test_single_assets_are_small() -> None:
    """What all of them take in the wheel is tested on the wheel."""
    sizes = {name: (assets.FOLDER / name).stat().st_size for name in assets.manifest()}
    assert all(sizes[f"sentiment.{name}.safetensors"] <= 4e6 for name in ("reward", "gold"))
    assert sizes["words.safetensors"] <= 8e6 and sizes["prose.safetensors"] <= 12e6


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_asset_is_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "sentiment.prompts.safetensors"
    data = bytearray((assets.FOLDER / name).read_bytes())
    if damage == "changed":
        data[-1] ^= 1
    if damage != "missing":
        (tmp_path / name).write_bytes(data[:-1] if damage == "cut" else data)
    shutil.copy(assets.MANIFEST, tmp_path / "manifest.json")
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    monkeypatch.setattr(assets, "MANIFEST", tmp_path / "manifest.json")
    assets.asset_path.cache_clear()
    try:
        with pytest.raises(assets.CorruptedAsset) as caught:
            assets.asset_path(name)
    finally:
        assets.asset_path.cache_clear()
    assert name in str(caught.value)
    if damage != "missing":
        assert str(assets.manifest()[name]["sha256"]) in str(caught.value)
        assert assets.file_digest(tmp_path / name) in str(caught.value)


def test_unknown_asset() -> None:
    with pytest.raises(KeyError, match=r"unknown asset 'novels'.*words\.safetensors"):
        assets.asset_path("novels")


def test_words_are_distributions() -> None:
    words, start, rows = load_words()
    assert len(set(words)) == len(words) == len(start) and rows.shape == (len(words), len(words))
    np.testing.assert_allclose(np.exp(start).sum(), 1, atol=1e-12)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-12)
    assert np.isfinite(rows).all() and np.isfinite(start).all()


def test_prompts_are_distinct_and_apart() -> None:
    from safetensors.numpy import load_file

    prompts = load_file(assets.asset_path("sentiment.prompts.safetensors"))
    assert prompts["train"].shape == (4096, 8) and prompts["evaluation"].shape == (64, 8)
    rows = np.concatenate((prompts["train"], prompts["evaluation"]))
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert rows.min() > 0 and rows.max() < 2048
