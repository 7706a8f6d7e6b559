"""A reference that ships: its builder, its loader, its name in the catalogue, its test, the changelog."""

from __future__ import annotations

from pathlib import Path

from tests.additions import insert, note

BUILDER = '''"""``vowels``: a bigram of five letters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from klrl_envs.assets.build.recipe import Asset, Recipe


def build(out: Path) -> dict[str, object]:
    """Write ``vowels.safetensors`` to ``out``; return the card's measurements."""
    save_file({"pairs": np.arange(1, 31, dtype=np.uint32).reshape(6, 5)}, out / "vowels.safetensors")
    return {"letters": 5}


CARD = """\\
# vowels: five letters

## Data
Made up; MIT.

## Recipe
$rebuild

## Measured
$measured

## Limits
It has no consonants.

## Files
$files
"""
RECIPE = Recipe(
    name="vowels",
    assets=(Asset("vowels", ("vowels.safetensors",), CARD),),
    takes="seconds",
    reads=(),
    build=lambda out, work: {"vowels": build(out)},
)
'''

LOADER = '''"""``vowels``, a bigram of five letters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from klrl_envs.assets import asset_digest, asset_path
from klrl_envs.reference.markov import MarkovReference

LETTERS = tuple("aeiou")


@lru_cache(maxsize=1)
def vowels_bigram() -> MarkovReference:
    """The bigram; loaded once a process."""
    from safetensors.numpy import load_file

    pairs = load_file(asset_path("vowels.safetensors"))["pairs"].astype(np.float64)
    rows = np.log(pairs / pairs.sum(axis=1, keepdims=True))
    return MarkovReference(rows[-1], rows[:-1], name="vowels", fingerprint=asset_digest("vowels.safetensors"))
'''

ENTRY = """def _vowels() -> LanguageModel:
    from klrl_envs.reference.vowels import LETTERS, vowels_bigram

    return bigram_model(LETTERS, vowels_bigram(), None)


"""

MEANING = '''"""vowels: five letters."""

from klrl_envs.reference.catalogue import load


def test_vowels_are_five_letters() -> None:
    assert load("vowels").words == tuple("aeiou")
'''

COMMANDS = [["klrl_envs.assets.build", "vowels", "--out", "klrl_envs/assets", "--work", "build_work"]]
TESTS = [
    "-k", "vowels or cards or manifest or builder or catalogue",
    "tests/reference", "tests/assets",
]  # fmt: skip


def add(copy: Path) -> None:
    """Five files."""
    (copy / "klrl_envs/assets/build/vowels.py").write_text(BUILDER, encoding="utf-8")
    (copy / "klrl_envs/reference/vowels.py").write_text(LOADER, encoding="utf-8")
    catalogue = copy / "klrl_envs/reference/catalogue.py"
    insert(catalogue, "CATALOGUE: dict", ENTRY)
    insert(catalogue, '    "nano": _nano,', '    "vowels": _vowels,\n')
    (copy / "tests/reference/test_vowels.py").write_text(MEANING, encoding="utf-8")
    note(copy, "The reference `vowels`.")
